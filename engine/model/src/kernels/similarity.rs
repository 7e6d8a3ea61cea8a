//! Owns dot products and cosine similarities.
//!
//! Refuses to know what the vectors mean. Bound: pairs of rows by one product of matrices, with
//! scratch as large as both.

use super::gemm::{Gemm, gemm_f32};
use super::lanes::{COUNT, Kernel, Lanes, dispatch};
use super::{Isa, Team};

struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Kernel for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f32 {
        let count = self.a.len().min(self.b.len());
        let mut totals = [L::splat(0.0); 4];
        let mut index = 0;
        while index < count {
            for total in &mut totals {
                if index < count {
                    let part = COUNT.min(count - index);
                    // SAFETY: `index + part` is at most the length of both.
                    let (a, b) = unsafe {
                        (
                            L::load_part(self.a.as_ptr().add(index), part, 0.0),
                            L::load_part(self.b.as_ptr().add(index), part, 0.0),
                        )
                    };
                    *total = a.fma(b, *total);
                    index += part;
                }
            }
        }
        totals[0].add(totals[1]).add(totals[2].add(totals[3])).sum()
    }
}

/// The sum of the products of `a` and `b`, as far as the shorter goes.
pub fn dot(isa: Isa, a: &[f32], b: &[f32]) -> f32 {
    dispatch(isa, Dot { a, b })
}

/// Divides each row by its length, in `out`; a row of zeros stays one. The row is scaled by its
/// largest value first, so that no square overflows or vanishes.
pub fn normalise_rows(isa: Isa, values: &[f32], columns: usize, out: &mut [f32]) {
    if columns == 0 {
        return;
    }
    for (row, out) in values.chunks_exact(columns).zip(out.chunks_exact_mut(columns)) {
        let largest = row.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        // NaN is skipped by `max` and comes back through the length.
        let largest = if largest > 0.0 { largest } else { 1.0 };
        for (out, value) in out.iter_mut().zip(row) {
            *out = value / largest;
        }
        let length = dot(isa, out, out).sqrt();
        let length = if length == 0.0 { 1.0 } else { length };
        for out in out {
            *out /= length;
        }
    }
}

/// Cosine similarities of each row of `a` with each of `b`, rows of `columns` values, to `out`,
/// `[rows of a, rows of b]`: 1 for the same direction, 0 with a row of zeros, NaN with one that is
/// not finite. `scratch` is normalised rows and what [`gemm_f32`] needs.
///
/// Slices that do not fit are a mistake of the caller: nothing is computed.
pub fn cosine_similarity(
    isa: Isa,
    team: &dyn Team,
    (a, b): (&[f32], &[f32]),
    columns: usize,
    scratch: [&mut Vec<f32>; 2],
    out: &mut [f32],
) {
    if columns == 0 {
        return;
    }
    let (a_rows, b_rows) = (a.len() / columns, b.len() / columns);
    let [rows, packed] = scratch;
    let (a_count, b_count) = (a_rows * columns, b_rows * columns);
    if rows.len() < a_count + b_count {
        rows.resize(a_count + b_count, 0.0);
    }
    let (a_rows_scaled, b_rows_scaled) = rows[..a_count + b_count].split_at_mut(a_count);
    normalise_rows(isa, a, columns, a_rows_scaled);
    normalise_rows(isa, b, columns, b_rows_scaled);
    let product = Gemm {
        rows: a_rows,
        columns: b_rows,
        depth: columns,
        a: a_rows_scaled,
        a_stride: columns,
        a_transposed: false,
        b: b_rows_scaled,
        b_stride: columns,
        b_transposed: true,
        scale: 1.0,
        out,
        out_stride: b_rows,
    };
    gemm_f32(isa, team, product, packed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Alone;
    use crate::kernels::tests::{numbers, same_on_all};

    #[test]
    fn similarities_are_cosines() {
        for columns in [1, 2, 15, 17, 384] {
            let mut a = numbers(1, 5 * columns, 3.0);
            let b = numbers(2, 3 * columns, 1e-30);
            a[..columns].fill(0.0);
            a[columns..2 * columns].iter_mut().for_each(|x| *x *= 1e37);
            let found = same_on_all(|isa| {
                let mut out = vec![9.0; 15];
                let scratch = [&mut vec![], &mut vec![]];
                cosine_similarity(isa, &Alone, (&a, &b), columns, scratch, &mut out);
                out
            });
            for (index, found) in found.iter().enumerate() {
                let a = &a[index / 3 * columns..][..columns];
                let b = &b[index % 3 * columns..][..columns];
                let sum = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                };
                let lengths = (sum(a, a) * sum(b, b)).sqrt();
                let expected = if lengths > 0.0 { sum(a, b) / lengths } else { 0.0 };
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{columns} {index} {found}");
            }
        }
    }

    #[test]
    fn dots_are_sums_of_products() {
        for count in [0, 1, 16, 65, 1_000] {
            let (a, b) = (numbers(1, count, 1.0), numbers(2, count + 3, 1.0));
            let found = same_on_all(|isa| vec![dot(isa, &a, &b)]);
            let products = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b));
            assert!((f64::from(found[0]) - products.sum::<f64>()).abs() < 1e-5, "{count}");
        }
        let mut out = [9.0; 2];
        normalise_rows(Isa::detect(), &[f32::NAN, 1.0], 2, &mut out);
        assert!(out.iter().all(|x| x.is_nan()));
    }
}
