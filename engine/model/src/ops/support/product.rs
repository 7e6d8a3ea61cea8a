//! Owns the product that convolutions and attention are made of.
//!
//! Refuses to know them. Bound: for 32 bits one packed copy of the right matrix.

use super::float::Wide;
use crate::kernels::{Gemm, Isa, Team, gemm_f32};
use crate::tensor::Element;

/// `out = left · right`, where `left` is rows of `depth` numbers without gaps, `right` is `depth`
/// rows of `columns` numbers without gaps, and rows of `out` begin `out_stride` apart.
pub struct Product<'a, W> {
    /// How many rows `left` and `out` have.
    pub rows: usize,
    /// How many columns `right` and `out` have.
    pub columns: usize,
    /// Columns of `left` and rows of `right`.
    pub depth: usize,
    /// Weights.
    pub left: &'a [W],
    /// Columns.
    pub right: &'a [W],
    /// The result.
    pub out: &'a mut [W],
    /// From one row of the result to the next.
    pub out_stride: usize,
}

/// A type that products are computed in.
pub trait Multiplied: Wide + Element {
    /// Computes a product.
    fn multiply(isa: Isa, team: &dyn Team, product: Product<'_, Self>, scratch: &mut Vec<Self>);
}

impl Multiplied for f32 {
    fn multiply(isa: Isa, team: &dyn Team, product: Product<'_, f32>, scratch: &mut Vec<f32>) {
        let Product { rows, columns, depth, left, right, out, out_stride } = product;
        let gemm = Gemm {
            rows,
            columns,
            depth,
            a: left,
            a_stride: depth,
            a_transposed: false,
            b: right,
            b_stride: columns,
            b_transposed: false,
            scale: 1.0,
            out,
            out_stride,
        };
        gemm_f32(isa, team, gemm, scratch);
    }
}

impl Multiplied for f64 {
    fn multiply(_isa: Isa, _team: &dyn Team, product: Product<'_, f64>, _scratch: &mut Vec<f64>) {
        let Product { rows, columns, depth, left, right, out, out_stride } = product;
        for row in 0..rows {
            let out = &mut out[row * out_stride..][..columns];
            out.fill(0.0);
            let left = &left[row * depth..][..depth];
            for (weight, right) in left.iter().zip(right.chunks_exact(columns.max(1))) {
                out.iter_mut().zip(right).for_each(|(out, right)| *out += weight * right);
            }
        }
    }
}
