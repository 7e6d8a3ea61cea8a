//! Owns the largest of each square of pixels, and the way of a gradient back to it.
//!
//! Refuses to know layers. Bound: squares of at most 15 by 15, so that a byte names a pixel.

/// Puts the largest of each square into `out` and which pixel it was, the first of equals, into
/// `chosen`. Rows and columns beyond the last whole square are left out.
pub(super) fn forward(
    [height, width, channels]: [usize; 3],
    size: usize,
    images: &[f32],
    out: &mut [f32],
    chosen: &mut [u8],
) {
    let (rows, columns) = (height / size, width / size);
    let images = images.chunks_exact(height * width * channels);
    let outs = out.chunks_exact_mut(rows * columns * channels);
    let choices = chosen.chunks_exact_mut(rows * columns * channels);
    for ((image, out), chosen) in images.zip(outs).zip(choices) {
        let places = out.chunks_exact_mut(channels).zip(chosen.chunks_exact_mut(channels));
        for (index, (out, chosen)) in places.enumerate() {
            let (y, x) = (index / columns * size, index % columns * size);
            for pixel in 0..size * size {
                let at = (y + pixel / size) * width + x + pixel % size;
                let values = &image[at * channels..][..channels];
                if pixel == 0 {
                    out.copy_from_slice(values);
                    chosen.fill(0);
                    continue;
                }
                for ((out, chosen), value) in out.iter_mut().zip(&mut *chosen).zip(values) {
                    let is_larger = *value > *out || value.is_nan();
                    *out = if is_larger { *value } else { *out };
                    *chosen = if is_larger { pixel as u8 } else { *chosen };
                }
            }
        }
    }
}

/// Gives each gradient to the pixel that was chosen, and zero to the others.
pub(super) fn backward(
    [height, width, channels]: [usize; 3],
    size: usize,
    gradients: &[f32],
    chosen: &[u8],
    of_images: &mut [f32],
) {
    let (rows, columns) = (height / size, width / size);
    of_images.fill(0.0);
    let images = of_images.chunks_exact_mut(height * width * channels);
    let gradients = gradients.chunks_exact(rows * columns * channels);
    let choices = chosen.chunks_exact(rows * columns * channels);
    for ((image, gradients), chosen) in images.zip(gradients).zip(choices) {
        let places = gradients.chunks_exact(channels).zip(chosen.chunks_exact(channels));
        for (index, (gradients, chosen)) in places.enumerate() {
            let (y, x) = (index / columns * size, index % columns * size);
            for (channel, (gradient, pixel)) in gradients.iter().zip(chosen).enumerate() {
                let pixel = usize::from(*pixel);
                let at = (y + pixel / size) * width + x + pixel % size;
                image[at * channels + channel] = *gradient;
            }
        }
    }
}
