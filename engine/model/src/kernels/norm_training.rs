//! Owns layer normalisation that keeps what its way back needs, and that way.
//!
//! Refuses to know layers. Bound: as many whole rows as all slices have; sums over rows run in
//! their order.

use super::Isa;
use super::lanes::{COUNT, Kernel, Lanes, dispatch};
use super::rows::{add_residual, squares};

/// Factors, addends and what keeps the root from 0.
#[derive(Clone, Copy, Debug)]
pub struct NormWeights<'a> {
    /// Factor of each column.
    pub gamma: &'a [f32],
    /// Addend of each column.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// What the way back needs.
#[derive(Debug)]
pub struct NormKept<'a> {
    /// The rows with mean 0 and variance 1.
    pub rows: &'a mut [f32],
    /// One over the deviation of each row.
    pub scales: &'a mut [f32],
}

struct Forward<'a> {
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    weights: NormWeights<'a>,
    kept: NormKept<'a>,
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let NormWeights { gamma, beta, epsilon } = self.weights;
        let columns = gamma.len();
        let mut residual = self.residual.map(|residual| residual.chunks_exact(columns));
        let rows = self.x.chunks_exact(columns).zip(self.out.chunks_exact_mut(columns));
        let kept = self.kept.rows.chunks_exact_mut(columns).zip(self.kept.scales);
        for ((x, out), (row, kept_scale)) in rows.zip(kept) {
            let other = match residual.as_mut().map(Iterator::next) {
                None => std::ptr::null(),
                Some(Some(other)) => other.as_ptr(),
                Some(None) => return,
            };
            let (row, out) = (row.as_mut_ptr(), out.as_mut_ptr());
            // SAFETY: all of them have `columns` values, or are null.
            unsafe {
                let mean = add_residual::<L>(x.as_ptr(), other, row, columns) / columns as f32;
                let variance = squares::<L>(row, mean, columns) / columns as f32;
                let scale = 1.0 / (variance + epsilon).sqrt();
                *kept_scale = scale;
                let (mean, scale) = (L::splat(mean), L::splat(scale));
                let mut column = 0;
                while column < columns {
                    let count = COUNT.min(columns - column);
                    let value = L::load_part(row.add(column), count, 0.0).sub(mean).mul(scale);
                    value.store_part(row.add(column), count);
                    let factor = L::load_part(gamma.as_ptr().add(column), count, 0.0);
                    let addend = L::load_part(beta.as_ptr().add(column), count, 0.0);
                    value.fma(factor, addend).store_part(out.add(column), count);
                    column += COUNT;
                }
            }
        }
    }
}

/// As [`super::layer_norm_rows`], and keeps what [`norm_gradient_rows`] needs.
pub fn norm_rows_kept(
    isa: Isa,
    x: &[f32],
    residual: Option<&[f32]>,
    weights: NormWeights<'_>,
    kept: NormKept<'_>,
    out: &mut [f32],
) {
    if !weights.gamma.is_empty() && weights.beta.len() >= weights.gamma.len() {
        dispatch(isa, Forward { x, residual, weights, kept, out });
    }
}

struct Backward<'a> {
    gradients: &'a mut [f32],
    rows: &'a [f32],
    scales: &'a [f32],
    gamma: &'a [f32],
    of_gamma: &'a mut [f32],
    of_beta: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let columns = self.gamma.len();
        let gamma = self.gamma.as_ptr();
        let (of_gamma, of_beta) = (self.of_gamma.as_mut_ptr(), self.of_beta.as_mut_ptr());
        let rows = self.gradients.chunks_exact_mut(columns).zip(self.rows.chunks_exact(columns));
        for ((row, kept), scale) in rows.zip(self.scales) {
            let (row, kept) = (row.as_mut_ptr(), kept.as_ptr());
            let (mut total, mut slope) = (L::splat(0.0), L::splat(0.0));
            // SAFETY: all of them have `columns` values.
            unsafe {
                let mut column = 0;
                while column < columns {
                    let count = COUNT.min(columns - column);
                    let gradient = L::load_part(row.add(column), count, 0.0);
                    let value = L::load_part(kept.add(column), count, 0.0);
                    let sum = L::load_part(of_gamma.add(column), count, 0.0);
                    gradient.fma(value, sum).store_part(of_gamma.add(column), count);
                    let sum = L::load_part(of_beta.add(column), count, 0.0);
                    sum.add(gradient).store_part(of_beta.add(column), count);
                    let gradient = gradient.mul(L::load_part(gamma.add(column), count, 0.0));
                    gradient.store_part(row.add(column), count);
                    total = total.add(gradient);
                    slope = gradient.fma(value, slope);
                    column += COUNT;
                }
                let count = columns as f32;
                let (mean, slope) = (L::splat(total.sum() / count), slope.sum() / count);
                let (slope, scale) = (L::splat(-slope), L::splat(*scale));
                let mut column = 0;
                while column < columns {
                    let count = COUNT.min(columns - column);
                    let gradient = L::load_part(row.add(column), count, 0.0).sub(mean);
                    let value = L::load_part(kept.add(column), count, 0.0);
                    value.fma(slope, gradient).mul(scale).store_part(row.add(column), count);
                    column += COUNT;
                }
            }
        }
    }
}

/// Of the gradients of normalised rows those of what went in (of both summands), and adds those of
/// gamma and beta. Slices of other lengths than gamma's are a mistake of the caller: nothing is
/// computed.
pub fn norm_gradient_rows(
    isa: Isa,
    gradients: &mut [f32],
    kept: (&[f32], &[f32]),
    gamma: &[f32],
    of_gamma: &mut [f32],
    of_beta: &mut [f32],
) {
    let fits = of_gamma.len() == gamma.len() && of_beta.len() == gamma.len();
    debug_assert!(fits, "the slices of a normalisation differ in length");
    if fits && !gamma.is_empty() {
        let (rows, scales) = kept;
        dispatch(isa, Backward { gradients, rows, scales, gamma, of_gamma, of_beta });
    }
}

#[cfg(test)]
mod tests;
