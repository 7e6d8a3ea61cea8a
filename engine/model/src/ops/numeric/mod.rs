//! Operators that sum over values: reductions, normalisations, products, and quantised numbers.
//!
//! Owns what looks along axes. Refuses to know where tensors come from. Bound: one or two passes
//! per result; products of f32 run in the kernels.

mod determinant;
mod einsum;
mod equation;
mod gemm;
mod lines;
mod losses;
mod matmul;
mod matmul_integer;
mod mean_variance;
mod normalize;
mod quantize;
mod reduce;
mod softmax;
#[cfg(test)]
mod tests;

use super::registry::Family;

/// The families of this folder.
pub const FAMILIES: &[Family] = &[
    determinant::OPERATORS,
    einsum::OPERATORS,
    gemm::OPERATORS,
    losses::OPERATORS,
    matmul::OPERATORS,
    matmul_integer::OPERATORS,
    mean_variance::OPERATORS,
    normalize::OPERATORS,
    quantize::OPERATORS,
    reduce::OPERATORS,
    softmax::OPERATORS,
];
