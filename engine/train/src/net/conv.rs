//! Owns convolutions as products of patches with kernels, some images at a time.
//!
//! Images have their channels last, so a row of a patch is one stretch of memory.
//! Refuses to know activations and biases: they are fused into the product or done before.
//! Bound: patches of [`PATCH_VALUES`] values or of one image.

use truststram_model::kernels::Activation;

use super::product::{Products, Sizes};

/// Values of the patches that are laid out at a time; they stay in the second cache.
const PATCH_VALUES: usize = 1 << 16;

/// The sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Height, width and channels that come in.
    pub(super) image: [usize; 3],
    /// Height, width and channels that go out.
    pub(super) out: [usize; 3],
    /// Pixels of a kernel's side.
    pub(super) side: usize,
    /// Zeros around the image.
    pub(super) padding: usize,
}

impl Shape {
    pub(super) fn patch(&self) -> usize {
        self.side * self.side * self.image[2]
    }

    pub(super) fn pixels(&self) -> usize {
        self.out[0] * self.out[1]
    }

    pub(super) fn values_in(&self) -> usize {
        self.image.iter().product()
    }

    pub(super) fn images_at_once(&self) -> usize {
        (PATCH_VALUES / (self.patch() * self.pixels())).max(1)
    }

    /// For each pixel that goes out and each row of its patch: where the row begins in the image
    /// and in the patch, and how long it is; the rest of a patch lies outside of the image.
    pub(super) fn stretches(&self, mut each: impl FnMut(usize, usize, usize)) {
        let [height, width, channels] = self.image;
        let (side, padding) = (self.side, self.padding);
        let mut patch = 0;
        for y in 0..self.out[0] {
            for x in 0..self.out[1] {
                let first = x.max(padding) - padding;
                let end = (x + side).min(width + padding) - padding;
                let skipped = first + padding - x;
                for row in 0..side {
                    let from = y + row;
                    if from >= padding && from < height + padding {
                        let start = ((from - padding) * width + first) * channels;
                        let to = patch + (row * side + skipped) * channels;
                        each(start, to, (end - first) * channels);
                    }
                }
                patch += self.patch();
            }
        }
    }

    pub(super) fn lay_out(&self, images: &[f32], patches: &mut [f32]) {
        let size = self.patch() * self.pixels();
        if self.padding > 0 {
            patches.fill(0.0);
        }
        for (image, patches) in
            images.chunks_exact(self.values_in()).zip(patches.chunks_exact_mut(size))
        {
            self.stretches(|from, to, count| copy(&image[from..from + count], &mut patches[to..]));
        }
    }
}

/// Copies a stretch; the usual short ones without a call.
fn copy(from: &[f32], to: &mut [f32]) {
    fn short<const COUNT: usize>(from: &[f32], to: &mut [f32]) {
        if let (Some(from), Some(to)) = (from.first_chunk::<COUNT>(), to.first_chunk_mut::<COUNT>())
        {
            *to = *from;
        }
    }
    match from.len() {
        2 => short::<2>(from, to),
        3 => short::<3>(from, to),
        5 => short::<5>(from, to),
        9 => short::<9>(from, to),
        48 => short::<48>(from, to),
        count => to[..count].copy_from_slice(from),
    }
}

/// `out = activation(patches · weight^T + bias)`; `patches` is a buffer that is kept.
pub(super) fn forward(
    products: &mut Products,
    shape: Shape,
    weights: (&[f32], &[f32]),
    activation: Activation,
    images: &[f32],
    patches: &mut Vec<f32>,
    out: &mut [f32],
) {
    let (patch, pixels, channels) = (shape.patch(), shape.pixels(), shape.out[2]);
    let at_once = shape.images_at_once();
    patches.resize(at_once * pixels * patch, 0.0);
    let images = images.chunks(at_once * shape.values_in());
    for (images, out) in images.zip(out.chunks_mut(at_once * pixels * channels)) {
        let rows = out.len() / channels;
        let patches = &mut patches[..rows * patch];
        shape.lay_out(images, patches);
        let sizes = Sizes { rows, inputs: patch, outputs: channels };
        products.forward(sizes, patches, weights, activation, out);
    }
}

/// What the way back needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Back<'a> {
    /// Of the layer's sums.
    pub(super) gradients: &'a [f32],
    /// What the layer was given.
    pub(super) images: &'a [f32],
    /// Of the layer.
    pub(super) weight: &'a [f32],
}

/// Some images at a time; with `adds` the gradients of the weights are added to those there.
pub(super) fn backward(
    products: &mut Products,
    shape: Shape,
    back: Back<'_>,
    (adds, of_weight): (bool, &mut [f32]),
    mut of_images: Option<&mut [f32]>,
    patches: &mut Vec<f32>,
) {
    let (patch, pixels, channels) = (shape.patch(), shape.pixels(), shape.out[2]);
    let (at_once, size) = (shape.images_at_once(), shape.values_in());
    patches.resize(at_once * pixels * patch, 0.0);
    if let Some(of_images) = of_images.as_deref_mut() {
        of_images.fill(0.0);
    }
    let gradients = back.gradients.chunks(at_once * pixels * channels);
    for (index, (images, gradients)) in
        back.images.chunks(at_once * size).zip(gradients).enumerate()
    {
        let rows = gradients.len() / channels;
        let patches = &mut patches[..rows * patch];
        shape.lay_out(images, patches);
        let sizes = Sizes { rows, inputs: patch, outputs: channels };
        products.of_weight(sizes, gradients, patches, adds || index > 0, of_weight);
        let Some(of_images) = of_images.as_deref_mut() else { continue };
        products.of_input(sizes, gradients, back.weight, false, patches);
        let of_images = &mut of_images[index * at_once * size..][..images.len()];
        let parts = of_images.chunks_exact_mut(size).zip(patches.chunks_exact(patch * pixels));
        for (image, patches) in parts {
            shape.stretches(|to, from, count| {
                let from = &patches[from..from + count];
                image[to..to + count].iter_mut().zip(from).for_each(|(to, from)| *to += from);
            });
        }
    }
}
