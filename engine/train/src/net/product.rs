//! Owns the three products of a layer: its results, the gradients of its weights and those of what
//! it was given.
//!
//! Refuses to know layers. Bound: scratch for one packed matrix.

use truststram_model::kernels::{Activation, Alone, Gemm, Isa, gemm_add_f32, gemm_layer_f32};

/// Rows that come in, numbers of each, and numbers of each that goes out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

/// How products are computed, and their scratch.
#[derive(Debug)]
pub(crate) struct Products {
    pub(crate) isa: Isa,
    pub(crate) scratch: Vec<f32>,
}

impl Products {
    /// Without scratch yet.
    pub(crate) fn new(isa: Isa) -> Self {
        Self { isa, scratch: Vec::new() }
    }

    /// `out = activation(x · weightᵀ + bias)`.
    pub(crate) fn forward(
        &mut self,
        sizes: Sizes,
        x: &[f32],
        (weight, bias): (&[f32], &[f32]),
        activation: Activation,
        out: &mut [f32],
    ) {
        let Sizes { rows, inputs, outputs } = sizes;
        let product = Gemm {
            rows,
            columns: outputs,
            depth: inputs,
            a: x,
            a_stride: inputs,
            a_transposed: false,
            b: weight,
            b_stride: inputs,
            b_transposed: true,
            scale: 1.0,
            out,
            out_stride: outputs,
        };
        gemm_layer_f32(self.isa, &Alone, product, Some(bias), activation, &mut self.scratch);
    }

    /// `of_weight = gradientsᵀ · x`, or with `adds` that is added.
    pub(crate) fn of_weight(
        &mut self,
        sizes: Sizes,
        gradients: &[f32],
        x: &[f32],
        adds: bool,
        of_weight: &mut [f32],
    ) {
        let Sizes { rows, inputs, outputs } = sizes;
        let product = Gemm {
            rows: outputs,
            columns: inputs,
            depth: rows,
            a: gradients,
            a_stride: outputs,
            a_transposed: true,
            b: x,
            b_stride: inputs,
            b_transposed: false,
            scale: 1.0,
            out: of_weight,
            out_stride: inputs,
        };
        gemm_add_f32(self.isa, &Alone, product, !adds, &mut self.scratch);
    }

    /// `of_input = gradients · weight`, or with `adds` that is added.
    pub(crate) fn of_input(
        &mut self,
        sizes: Sizes,
        gradients: &[f32],
        weight: &[f32],
        adds: bool,
        of_input: &mut [f32],
    ) {
        let Sizes { rows, inputs, outputs } = sizes;
        let product = Gemm {
            rows,
            columns: inputs,
            depth: outputs,
            a: gradients,
            a_stride: outputs,
            a_transposed: false,
            b: weight,
            b_stride: inputs,
            b_transposed: false,
            scale: 1.0,
            out: of_input,
            out_stride: inputs,
        };
        gemm_add_f32(self.isa, &Alone, product, !adds, &mut self.scratch);
    }
}
