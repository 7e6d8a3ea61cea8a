//! Owns the three products of a layer: its results, the gradients of its weights and those of what
//! it was given.
//!
//! Refuses to know layers. Bound: scratch for one packed matrix.

use truststram_model::kernels::{
    Activation, Alone, Gemm, Isa, gemm_add_f32, gemm_bf16, gemm_layer_f32,
};

use super::spec::Precision;

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
    precision: Precision,
    pub(crate) scratch: Vec<f32>,
}

impl Products {
    /// Without scratch yet.
    pub(crate) fn new(isa: Isa, precision: Precision) -> Self {
        Self { isa, precision, scratch: Vec::new() }
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
        let (isa, scratch) = (self.isa, &mut self.scratch);
        match self.precision {
            Precision::F32 => {
                gemm_layer_f32(isa, &Alone, product, Some(bias), activation, scratch);
            }
            Precision::Bf16 => {
                gemm_bf16(isa, &Alone, product, (Some(bias), activation), false, scratch);
            }
        }
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
        self.add(product, adds);
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
        self.add(product, adds);
    }

    fn add(&mut self, product: Gemm<'_>, adds: bool) {
        let (isa, scratch) = (self.isa, &mut self.scratch);
        match self.precision {
            Precision::F32 => gemm_add_f32(isa, &Alone, product, !adds, scratch),
            Precision::Bf16 => {
                gemm_bf16(isa, &Alone, product, (None, Activation::None), adds, scratch);
            }
        }
    }
}
