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

/// The largest of a row and zero, without the signs and leaving out what is no number.
struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f32 {
        let mut largest = L::splat(0.0);
        let (whole, rest) = self.0.as_chunks::<COUNT>();
        for values in whole {
            // SAFETY: there are sixteen.
            largest = unsafe { L::load(values.as_ptr()) }.abs().max(largest);
        }
        // SAFETY: there are so many, fewer than sixteen.
        let rest = unsafe { L::load_part(rest.as_ptr(), rest.len(), 0.0) };
        rest.abs().max(largest).top()
    }
}

/// A row times a factor.
struct Times<'a> {
    row: &'a [f32],
    factor: f32,
    out: &'a mut [f32],
}

impl Kernel for Times<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let factor = L::splat(self.factor);
        let (whole, rest) = self.row.as_chunks::<COUNT>();
        let (whole_out, rest_out) = self.out.as_chunks_mut::<COUNT>();
        for (values, out) in whole.iter().zip(whole_out) {
            // SAFETY: there are sixteen of both.
            unsafe { L::load(values.as_ptr()).mul(factor).store(out.as_mut_ptr()) };
        }
        let count = rest.len().min(rest_out.len());
        // SAFETY: there are so many of both, fewer than sixteen.
        unsafe {
            let values = L::load_part(rest.as_ptr(), count, 0.0);
            values.mul(factor).store_part(rest_out.as_mut_ptr(), count);
        }
    }
}

/// The power of two that brings a number between 1 and 2, as far as one is large enough.
fn power_to_one(number: f32) -> f32 {
    let exponent = number.to_bits() >> 23 & 0xff;
    f32::from_bits((254 - exponent.min(253)) << 23)
}

/// Divides each row by its length, in `out`; a row of zeros stays one. The row is scaled by its
/// largest value first, so that no square overflows or vanishes; by a power of two, which rounds
/// nothing.
pub fn normalise_rows(isa: Isa, values: &[f32], columns: usize, out: &mut [f32]) {
    if columns == 0 {
        return;
    }
    for (row, out) in values.chunks_exact(columns).zip(out.chunks_exact_mut(columns)) {
        // NaN is left out of the largest and comes back through the length.
        let factor = power_to_one(dispatch(isa, Largest(row)));
        dispatch(isa, Times { row, factor, out: &mut *out });
        let length = dot(isa, out, out).sqrt();
        let factor = if length == 0.0 { 1.0 } else { 1.0 / length };
        for out in out {
            *out *= factor;
        }
    }
}

/// Columns of the result that are computed at a time where a matrix meets itself.
const BLOCK: usize = 96;

/// Cosine similarities of each row of `a` with each of `b`, rows of `columns` values, to `out`,
/// `[rows of a, rows of b]`: 1 for the same direction, 0 with a row of zeros, NaN with one that is
/// not finite. Of the rows of one slice with themselves each pair is computed once. `scratch` is
/// normalised rows and what [`gemm_f32`] needs.
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
    let is_same = std::ptr::eq(a, b);
    let a_count = a_rows * columns;
    let b_count = if is_same { 0 } else { b_rows * columns };
    if rows.len() < a_count + b_count {
        rows.resize(a_count + b_count, 0.0);
    }
    let (a_scaled, b_scaled) = rows[..a_count + b_count].split_at_mut(a_count);
    normalise_rows(isa, a, columns, a_scaled);
    normalise_rows(isa, b, columns, b_scaled);
    let (a_scaled, b_scaled) = (&*a_scaled, if is_same { &*a_scaled } else { &*b_scaled });
    let mut product = |b_first: usize, b_last: usize, rows: usize| {
        let product = Gemm {
            rows,
            columns: b_last - b_first,
            depth: columns,
            a: a_scaled,
            a_stride: columns,
            a_transposed: false,
            b: &b_scaled[b_first * columns..],
            b_stride: columns,
            b_transposed: true,
            scale: 1.0,
            out: out.get_mut(b_first..).unwrap_or_default(),
            out_stride: b_rows,
        };
        gemm_f32(isa, team, product, packed);
    };
    if !is_same {
        return product(0, b_rows, a_rows);
    }
    for first in (0..b_rows).step_by(BLOCK) {
        let last = b_rows.min(first + BLOCK);
        product(first, last, last);
    }
    if out.len() >= a_rows * a_rows {
        mirror(out, a_rows);
    }
}

/// Copies what is above the blocks on the diagonal of a square to below them.
fn mirror(square: &mut [f32], size: usize) {
    /// Rows and columns that stay in the first cache.
    const NEAR: usize = 16;
    for row_first in (0..size).step_by(NEAR) {
        let row_last = size.min(row_first + NEAR);
        for column_first in (0..row_first / BLOCK * BLOCK).step_by(NEAR) {
            for row in row_first..row_last {
                for column in column_first..column_first + NEAR {
                    square[row * size + column] = square[column * size + row];
                }
            }
        }
    }
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
    fn rows_meet_themselves_as_they_meet_others() {
        for (rows, columns) in [(1, 3), (95, 8), (96, 8), (100, 33), (250, 17)] {
            let a = numbers(1, rows * columns, 3.0);
            let b = a.clone();
            let similarities = |isa, b: &[f32]| {
                let mut out = vec![9.0; rows * rows];
                let scratch = [&mut vec![], &mut vec![]];
                cosine_similarity(isa, &Alone, (&a, b), columns, scratch, &mut out);
                out
            };
            let found = same_on_all(|isa| similarities(isa, &a));
            for (index, expected) in similarities(Isa::detect(), &b).iter().enumerate() {
                let mirrored = found[index % rows * rows + index / rows];
                assert!((found[index] - expected).abs() < 1e-6, "{rows} {columns} {index}");
                assert!((mirrored - expected).abs() < 1e-6, "{rows} {columns} {index}");
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
