//! Owns the largest of each square of pixels, and the way of a gradient back to it.
//!
//! Refuses to know layers. Bound: images with their channels last; rows and columns beyond the last
//! whole square are left out.

use super::Isa;
use super::lanes::{COUNT, Kernel, Lanes, dispatch};

/// The sizes of images and squares.
#[derive(Clone, Copy, Debug)]
pub struct Squares {
    /// Height, width and channels.
    pub image: [usize; 3],
    /// Pixels of a side, and from one square to the next.
    pub size: usize,
}

impl Squares {
    fn counts(&self) -> (usize, usize) {
        let [height, width, channels] = self.image;
        (height * width * channels, (height / self.size) * (width / self.size) * channels)
    }

    /// Calls `each` with the place of every square's first value in an image and of its result.
    #[inline(always)]
    fn each(&self, mut each: impl FnMut(usize, usize)) {
        let [height, width, channels] = self.image;
        let (rows, columns) = (height / self.size, width / self.size);
        for y in 0..rows {
            for x in 0..columns {
                let from = (y * self.size * width + x * self.size) * channels;
                each(from, (y * columns + x) * channels);
            }
        }
    }

    /// Values from a square's first one to the same channel of its pixel.
    #[inline(always)]
    fn offset(&self, pixel: usize) -> usize {
        let [_, width, channels] = self.image;
        (pixel / self.size * width + pixel % self.size) * channels
    }
}

struct Forward<'a> {
    squares: Squares,
    images: &'a [f32],
    out: &'a mut [f32],
    chosen: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let squares = self.squares;
        let (inputs, outputs) = squares.counts();
        let channels = squares.image[2];
        let images = self.images.chunks_exact(inputs);
        let outs = self.out.chunks_exact_mut(outputs).zip(self.chosen.chunks_exact_mut(outputs));
        for (image, (out, chosen)) in images.zip(outs) {
            let (image, out, chosen) = (image.as_ptr(), out.as_mut_ptr(), chosen.as_mut_ptr());
            squares.each(|from, to| {
                let mut channel = 0;
                while channel < channels {
                    let count = COUNT.min(channels - channel);
                    // SAFETY: squares and channels lie within the image and its results.
                    unsafe {
                        let from = image.add(from + channel);
                        let mut top = L::load_part(from, count, 0.0);
                        let mut place = L::splat(0.0);
                        for pixel in 1..squares.size * squares.size {
                            let value = L::load_part(from.add(squares.offset(pixel)), count, 0.0);
                            let number = L::splat(pixel as f32);
                            // The first of equals; NaN is larger than all.
                            let above = top.if_less(value, number, place);
                            let larger = top.if_less(value, value, top);
                            let infinite = L::splat(f32::INFINITY);
                            place = value.if_less(infinite, above, number);
                            top = value.if_less(infinite, larger, value);
                        }
                        top.store_part(out.add(to + channel), count);
                        place.store_part(chosen.add(to + channel), count);
                    }
                    channel += COUNT;
                }
            });
        }
    }
}

/// Puts the largest of each square into `out` and the number of its pixel into `chosen`, the first
/// of equals.
pub fn max_pool(isa: Isa, squares: Squares, images: &[f32], out: &mut [f32], chosen: &mut [f32]) {
    if squares.counts().1 > 0 {
        dispatch(isa, Forward { squares, images, out, chosen });
    }
}

struct Backward<'a> {
    squares: Squares,
    gradients: &'a [f32],
    chosen: &'a [f32],
    of_images: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let squares = self.squares;
        let (inputs, outputs) = squares.counts();
        let channels = squares.image[2];
        let given = self.gradients.chunks_exact(outputs).zip(self.chosen.chunks_exact(outputs));
        for (image, (gradients, chosen)) in self.of_images.chunks_exact_mut(inputs).zip(given) {
            let (image, gradients) = (image.as_mut_ptr(), gradients.as_ptr());
            let chosen = chosen.as_ptr();
            squares.each(|to, from| {
                let mut channel = 0;
                while channel < channels {
                    let count = COUNT.min(channels - channel);
                    // SAFETY: squares and channels lie within the image and its results.
                    unsafe {
                        let gradient = L::load_part(gradients.add(from + channel), count, 0.0);
                        let place = L::load_part(chosen.add(from + channel), count, 0.0);
                        for pixel in 0..squares.size * squares.size {
                            let off = place.sub(L::splat(pixel as f32)).abs();
                            let value = off.if_less(L::splat(0.5), gradient, L::splat(0.0));
                            let to = image.add(to + channel + squares.offset(pixel));
                            value.store_part(to, count);
                        }
                    }
                    channel += COUNT;
                }
            });
        }
    }
}

/// Gives each gradient to the pixel that was chosen, and zero to the others.
pub fn max_pool_gradient(
    isa: Isa,
    squares: Squares,
    gradients: &[f32],
    chosen: &[f32],
    of_images: &mut [f32],
) {
    let [height, width, _] = squares.image;
    // Every other pixel is written.
    if !height.is_multiple_of(squares.size) || !width.is_multiple_of(squares.size) {
        of_images.fill(0.0);
    }
    if squares.counts().1 > 0 {
        dispatch(isa, Backward { squares, gradients, chosen, of_images });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{numbers, same_on_all};

    #[test]
    fn the_first_of_the_largest_is_chosen_and_gets_the_gradient() {
        for (image, size) in [([4, 6, 3], 2), ([5, 7, 18], 2), ([3, 3, 1], 3), ([2, 2, 5], 1)] {
            let squares = Squares { image, size };
            let (inputs, outputs) = squares.counts();
            // Few different numbers, so that many are equal; one is NaN.
            let mut images: Vec<f32> =
                numbers(5, 2 * inputs, 2.0).iter().map(|x| x.round()).collect();
            images[0] = f32::NAN;
            let given = numbers(6, 2 * outputs, 1.0);
            let found = same_on_all(|isa| {
                let (mut out, mut chosen) = (vec![0.0; 2 * outputs], vec![0.0; 2 * outputs]);
                max_pool(isa, squares, &images, &mut out, &mut chosen);
                let mut back = vec![9.0; 2 * inputs];
                max_pool_gradient(isa, squares, &given, &chosen, &mut back);
                [out, back].concat()
            });
            let (out, back) = found.split_at(2 * outputs);
            let mut expected = vec![0.0; 2 * inputs];
            for number in 0..2 {
                squares.each(|from, to| {
                    for channel in 0..image[2] {
                        let at = |pixel| number * inputs + from + channel + squares.offset(pixel);
                        let mut best = 0;
                        for pixel in 1..size * size {
                            let is_larger = images[at(pixel)] > images[at(best)];
                            best = if is_larger { pixel } else { best };
                        }
                        let place = number * outputs + to + channel;
                        let top = images[at(best)];
                        assert!(out[place] == top || top.is_nan() && out[place].is_nan());
                        expected[at(best)] = given[place];
                    }
                });
            }
            assert_eq!(back, expected);
        }
    }
}
