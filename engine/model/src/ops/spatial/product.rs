//! Owns the product that convolutions are made of.
//!
//! Refuses to know convolutions. Bound: one pass over the first matrix for each row of the second.

use crate::ops::support::Wide;

/// Adds the product of `left` (rows times `depth`) and `right` (`depth` times `columns`) to rows
/// of `out` that begin `out_stride` apart.
pub fn add_product<W: Wide>(
    left: &[W],
    right: &[W],
    out: &mut [W],
    depth: usize,
    columns: usize,
    out_stride: usize,
) {
    if depth == 0 || columns == 0 {
        return;
    }
    for (row, left) in left.chunks_exact(depth).enumerate() {
        let out = &mut out[row * out_stride..][..columns];
        for (weight, right) in left.iter().zip(right.chunks_exact(columns)) {
            for (out, right) in out.iter_mut().zip(right) {
                *out += *weight * *right;
            }
        }
    }
}
