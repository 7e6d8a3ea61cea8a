//! Owns the products of the way back: gradients of weights and of what a layer was given.
//!
//! Refuses to know activations and biases: they are done before. Bound: scratch for the packed
//! matrices; patches of one part of the images.

use truststram_model::kernels::{Alone, Gemm, Isa, add_weighted_rows, gemm_f32};

use super::conv::{Buffers, Shape};

/// What a layer's way back needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Back<'a> {
    /// Of the layer's sums, row by row.
    pub(super) gradients: &'a [f32],
    /// What the layer was given.
    pub(super) input: &'a [f32],
    /// Of the layer.
    pub(super) weight: &'a [f32],
}

impl<'a> Back<'a> {
    /// Of a fully connected layer.
    pub(super) fn dense(
        self,
        isa: Isa,
        [rows, inputs, outputs]: [usize; 3],
        of_weight: &mut [f32],
        of_input: Option<&mut [f32]>,
        scratch: &mut Vec<f32>,
    ) {
        let product = Gemm {
            rows: outputs,
            columns: inputs,
            depth: rows,
            a: self.gradients,
            a_stride: outputs,
            a_transposed: true,
            b: &self.input[..rows * inputs],
            b_stride: inputs,
            b_transposed: false,
            scale: 1.0,
            out: of_weight,
            out_stride: inputs,
        };
        gemm_f32(isa, &Alone, product, scratch);
        let Some(out) = of_input else { return };
        gemm_f32(isa, &Alone, self.product([rows, inputs, outputs], out), scratch);
    }

    fn product(self, [rows, inputs, outputs]: [usize; 3], out: &'a mut [f32]) -> Gemm<'a> {
        Gemm {
            rows,
            columns: inputs,
            depth: outputs,
            a: self.gradients,
            a_stride: outputs,
            a_transposed: false,
            b: self.weight,
            b_stride: inputs,
            b_transposed: false,
            scale: 1.0,
            out,
            out_stride: inputs,
        }
    }

    /// Of a convolution, some images at a time.
    pub(super) fn conv(
        self,
        isa: Isa,
        shape: Shape,
        of_weight: &mut [f32],
        mut of_images: Option<&mut [f32]>,
        buffers: &mut Buffers,
    ) {
        let (patch, pixels, channels) = (shape.patch(), shape.pixels(), shape.out[2]);
        let (at_once, size) = (shape.images_at_once(), shape.values_in());
        buffers.patches.resize(at_once * pixels * patch, 0.0);
        buffers.sums.resize(channels * patch, 0.0);
        of_weight.fill(0.0);
        if let Some(of_images) = of_images.as_deref_mut() {
            of_images.fill(0.0);
        }
        let gradients = self.gradients.chunks(at_once * pixels * channels);
        for (index, (images, gradients)) in
            self.input.chunks(at_once * size).zip(gradients).enumerate()
        {
            let rows = gradients.len() / channels;
            let patches = &mut buffers.patches[..rows * patch];
            shape.lay_out(images, patches);
            let part = Back { gradients, input: patches, weight: self.weight };
            let sizes = [rows, patch, channels];
            part.dense(isa, sizes, &mut buffers.sums, None, &mut buffers.scratch);
            add_weighted_rows(isa, &[&buffers.sums], &[1.0], of_weight);
            let Some(of_images) = of_images.as_deref_mut() else { continue };
            let part = Back { gradients, input: &[], weight: self.weight };
            gemm_f32(isa, &Alone, part.product(sizes, patches), &mut buffers.scratch);
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
}
