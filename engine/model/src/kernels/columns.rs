//! Owns the kernels on the columns of some rows of one length: weighted sums, order by exchanges,
//! means, squared distances between rows.
//!
//! Refuses to know where rows come from. Bound: as many columns as every slice has; a column's
//! result depends on that column alone, and a sum runs over the rows in their order.

use std::ops::Range;

use super::Isa;
use super::lanes::{COUNT, Kernel, Lanes, dispatch};

/// Rows that meet each other in registers.
const BLOCK: usize = 4;

struct WeightedSum<'a> {
    rows: &'a [&'a [f32]],
    weights: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for WeightedSum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { rows, weights, sums } = self;
        let (fours, rest) = rows.as_chunks::<BLOCK>();
        let (four_weights, rest_weights) = weights.as_chunks::<BLOCK>();
        for (rows, weights) in fours.iter().zip(four_weights) {
            add::<L, BLOCK>(rows, weights, sums);
        }
        for (row, weight) in rest.iter().zip(rest_weights) {
            add::<L, 1>(&[row], &[*weight], sums);
        }
    }
}

#[inline(always)]
fn add<L: Lanes, const N: usize>(rows: &[&[f32]; N], weights: &[f32; N], sums: &mut [f32]) {
    let count = rows.iter().map(|row| row.len()).fold(sums.len(), usize::min);
    let whole = count - count % COUNT;
    let factors = weights.map(L::splat);
    // SAFETY: every access is below `count`, which all slices have.
    unsafe {
        let mut index = 0;
        while index < whole {
            let mut sum = L::load(sums.as_ptr().add(index));
            for (row, factor) in rows.iter().zip(factors) {
                sum = L::load(row.as_ptr().add(index)).fma(factor, sum);
            }
            sum.store(sums.as_mut_ptr().add(index));
            index += COUNT;
        }
        let part = count - whole;
        if part > 0 {
            let mut sum = L::load_part(sums.as_ptr().add(whole), part, 0.0);
            for (row, factor) in rows.iter().zip(factors) {
                sum = L::load_part(row.as_ptr().add(whole), part, 0.0).fma(factor, sum);
            }
            sum.store_part(sums.as_mut_ptr().add(whole), part);
        }
    }
}

/// Adds each row times its weight to `sums`, row after row, each step rounded once.
pub fn add_weighted_rows(isa: Isa, rows: &[&[f32]], weights: &[f32], sums: &mut [f32]) {
    dispatch(isa, WeightedSum { rows, weights, sums });
}

struct Exchange<'a> {
    pairs: &'a [(u32, u32)],
    rows: &'a mut [f32],
    columns: usize,
}

impl Kernel for Exchange<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { pairs, rows, columns } = self;
        let base = rows.as_mut_ptr();
        for &(low, high) in pairs {
            // SAFETY: `exchange_rows` has checked that both rows are there, as whole registers.
            unsafe {
                let (low, high) =
                    (base.add(low as usize * columns), base.add(high as usize * columns));
                let mut index = 0;
                while index < columns {
                    let (a, b) = (L::load(low.add(index)), L::load(high.add(index)));
                    a.min(b).store(low.add(index));
                    a.max(b).store(high.add(index));
                    index += COUNT;
                }
            }
        }
    }
}

/// Of each pair of rows of `columns` numbers, brings the smaller number of each column to the row
/// named first and the larger to the other. NaN may get anywhere.
///
/// Rows that are no multiple of sixteen long and pairs beyond the rows are a mistake of the
/// caller: nothing is exchanged.
pub fn exchange_rows(isa: Isa, pairs: &[(u32, u32)], rows: &mut [f32], columns: usize) {
    if columns == 0 || !columns.is_multiple_of(COUNT) {
        return;
    }
    let count = rows.len() / columns;
    if pairs.iter().all(|&(low, high)| (low as usize) < count && (high as usize) < count) {
        dispatch(isa, Exchange { pairs, rows, columns });
    }
}

struct MeanOfRows<'a> {
    rows: &'a [f32],
    columns: usize,
    out: &'a mut [f32],
}

impl Kernel for MeanOfRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { rows, columns, out } = self;
        let count = rows.len() / columns;
        let divisor = L::splat(count as f32);
        let used = out.len().min(columns);
        let mut index = 0;
        while index < used {
            let part = COUNT.min(used - index);
            // SAFETY: `index + part` is at most the length of a row and of `out`.
            unsafe {
                let mut sum = L::load_part(rows.as_ptr().add(index), part, 0.0);
                for row in 1..count {
                    let from = rows.as_ptr().add(row * columns + index);
                    sum = sum.add(L::load_part(from, part, 0.0));
                }
                sum.div(divisor).store_part(out.as_mut_ptr().add(index), part);
            }
            index += part;
        }
    }
}

/// The mean of each column of the rows `chosen` of `rows`, as far as `out` goes.
pub fn mean_of_rows(isa: Isa, rows: &[f32], columns: usize, chosen: Range<usize>, out: &mut [f32]) {
    let range = chosen.start.saturating_mul(columns)..chosen.end.saturating_mul(columns);
    match rows.get(range) {
        Some(rows) if !rows.is_empty() => dispatch(isa, MeanOfRows { rows, columns, out }),
        _ => {}
    }
}

struct Distances<'a> {
    rows: &'a [&'a [f32]],
    count: usize,
    sums: &'a mut [f64],
}

impl Kernel for Distances<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { rows, count, sums } = self;
        let n = rows.len();
        for first in (0..n).step_by(BLOCK) {
            for second in (first..n).step_by(BLOCK) {
                // Rows beyond the last are the last once more; their sums are not kept.
                let at = |start: usize| {
                    [0, 1, 2, 3].map(|offset| rows[(start + offset).min(n - 1)].as_ptr())
                };
                // SAFETY: the rows have `count` numbers.
                let block = unsafe { block::<L>(at(first), at(second), count) };
                for (i, line) in (first..n).zip(&block) {
                    for (j, squares) in (second..n).zip(line) {
                        if i < j {
                            sums[i * n + j] += f64::from(squares.sum());
                        }
                    }
                }
            }
        }
    }
}

/// The squares of the differences of four rows and four rows, summed lane by lane.
///
/// # Safety
/// Each row has `count` readable numbers.
#[inline(always)]
unsafe fn block<L: Lanes>(
    a: [*const f32; BLOCK],
    b: [*const f32; BLOCK],
    count: usize,
) -> [[L; BLOCK]; BLOCK] {
    let mut sums = [[L::splat(0.0); BLOCK]; BLOCK];
    let whole = count - count % COUNT;
    let mut add = |a: [L; BLOCK], b: [L; BLOCK]| {
        for (line, a) in sums.iter_mut().zip(a) {
            for (sum, b) in line.iter_mut().zip(b) {
                let difference = a.sub(b);
                *sum = difference.fma(difference, *sum);
            }
        }
    };
    // SAFETY: every access is below `count`.
    unsafe {
        let mut index = 0;
        while index < whole {
            add(a.map(|row| L::load(row.add(index))), b.map(|row| L::load(row.add(index))));
            index += COUNT;
        }
        let part = count - whole;
        if part > 0 {
            let load = |row: *const f32| L::load_part(row.add(whole), part, 0.0);
            add(a.map(load), b.map(load));
        }
    }
    sums
}

/// Adds the squared distances between each two of the rows to `sums`, a square of which the part
/// above the diagonal is used. The differences are taken first, so that near rows far from zero
/// lose no digits; within one call they are summed in single precision.
pub fn add_squared_distances(isa: Isa, rows: &[&[f32]], sums: &mut [f64]) {
    let count = rows.iter().map(|row| row.len()).min().unwrap_or(0);
    if sums.len() == rows.len() * rows.len() {
        dispatch(isa, Distances { rows, count, sums });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{numbers, same_on_all};

    fn rows(count: usize, columns: usize) -> Vec<Vec<f32>> {
        (0..count as u64).map(|seed| numbers(seed + 1, columns, 3.0)).collect()
    }

    fn slices(rows: &[Vec<f32>]) -> Vec<&[f32]> {
        rows.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn sums_are_weighted() {
        for (count, columns) in [(1, 5), (4, 16), (7, 33), (10, 100)] {
            let (rows, weights) = (rows(count, columns), numbers(99, count, 1.0));
            let found = same_on_all(|isa| {
                let mut sums = vec![0.5; columns];
                add_weighted_rows(isa, &slices(&rows), &weights, &mut sums);
                sums
            });
            for (column, found) in found.iter().enumerate() {
                let products = rows.iter().zip(&weights).map(|(row, weight)| row[column] * weight);
                assert!((found - 0.5 - products.sum::<f32>()).abs() < 1e-4, "{count} {columns}");
            }
        }
    }

    #[test]
    fn pairs_of_rows_are_put_in_order() {
        let start = numbers(3, 3 * 32, 1.0);
        let pairs = [(0, 1), (1, 2), (0, 1)];
        let found = same_on_all(|isa| {
            let mut rows = start.clone();
            exchange_rows(isa, &pairs, &mut rows, 32);
            rows
        });
        for column in 0..32 {
            let mut expected = [0, 1, 2].map(|row| start[row * 32 + column]);
            expected.sort_by(f32::total_cmp);
            assert_eq!([0, 1, 2].map(|row| found[row * 32 + column]), expected);
        }
        let mean = same_on_all(|isa| {
            let mut out = vec![0.0; 30];
            mean_of_rows(isa, &found, 32, 1..3, &mut out);
            out
        });
        assert_eq!(mean[7], (found[32 + 7] + found[64 + 7]) / 2.0);
        let mut untouched = start.clone();
        exchange_rows(Isa::detect(), &[(0, 3)], &mut untouched, 32);
        exchange_rows(Isa::detect(), &pairs, &mut untouched, 31);
        assert_eq!(untouched, start);
    }

    #[test]
    fn distances_keep_their_digits() {
        for (count, columns) in [(1, 3), (2, 16), (5, 100), (9, 31)] {
            let rows: Vec<Vec<f32>> = rows(count, columns)
                .into_iter()
                .map(|row| row.into_iter().map(|x| x * 1e-3 + 100.0).collect())
                .collect();
            let found = same_on_all(|isa| {
                let mut sums = vec![0.0; count * count];
                add_squared_distances(isa, &slices(&rows), &mut sums);
                sums.into_iter().map(|sum| sum as f32).collect()
            });
            for i in 0..count {
                for j in i + 1..count {
                    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
                    let expected: f64 = rows[i].iter().zip(&rows[j]).map(square).sum();
                    let off = (f64::from(found[i * count + j]) - expected).abs() / expected;
                    assert!(off < 1e-5, "{count} {columns}: {off}");
                }
            }
        }
    }
}
