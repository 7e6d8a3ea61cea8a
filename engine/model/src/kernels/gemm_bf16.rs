//! Owns the product of two matrices of f32 that are rounded to bf16 on the way, with sums in f32.
//!
//! Refuses to know what they are. Bound: scratch for both matrices as pairs of bf16; sums of
//! [`super::gemm::DEPTH_AT_ONCE`] products before the next ones are added.

use super::gemm::{DEPTH_AT_ONCE, by_depth, multiply_both, pack_columns};
use super::lanes::{COUNT, Kernel, Lanes, dispatch};
use super::linear::rounded;
use super::tiles::{Finish, Job, Number, vectors};
use super::{Activation, Gemm, Isa, Team};

/// Columns of a whole panel.
const WHOLE: usize = super::tiles::PANEL * COUNT;

/// Rounds rows of a matrix to pairs of bf16, one word for two neighbours of a row.
struct Neighbours<'a> {
    from: &'a [f32],
    stride: usize,
    rows: usize,
    columns: usize,
    to: &'a mut [f32],
}

impl Kernel for Neighbours<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let words = self.columns.div_ceil(2);
        for (row, to) in self.to.chunks_exact_mut(words).take(self.rows).enumerate() {
            let from = self.from[row * self.stride..][..self.columns].as_ptr();
            if !self.columns.is_multiple_of(2) {
                to[words - 1] = 0.0;
            }
            let to = to.as_mut_ptr().cast::<u16>();
            let mut column = 0;
            while column < self.columns {
                let count = COUNT.min(self.columns - column);
                // SAFETY: the row has `columns` numbers, and its place 2 bytes for each.
                unsafe {
                    let value = L::load_part(from.add(column), count, 0.0);
                    L::store_halves(rounded::<L>(value), to.add(column), count);
                }
                column += COUNT;
            }
        }
    }
}

/// Rounds pairs of rows of a matrix to bf16, one word for two numbers below each other.
struct Below<'a> {
    from: &'a [f32],
    stride: usize,
    rows: usize,
    columns: usize,
    to: &'a mut [f32],
}

impl Kernel for Below<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (pair, to) in self.to.chunks_exact_mut(self.columns).enumerate() {
            let upper = self.from[2 * pair * self.stride..][..self.columns].as_ptr();
            let lower = match 2 * pair + 1 < self.rows {
                true => self.from[(2 * pair + 1) * self.stride..][..self.columns].as_ptr(),
                false => std::ptr::null(),
            };
            let to = to.as_mut_ptr();
            let mut column = 0;
            while column < self.columns {
                let count = COUNT.min(self.columns - column);
                // SAFETY: the rows have `columns` numbers, or the second is null.
                unsafe {
                    let value = L::load_part(upper.add(column), count, 0.0);
                    let low = L::and_ints(rounded::<L>(value), L::splat_ints(0xffff));
                    let high = match lower.is_null() {
                        true => L::splat_ints(0),
                        false => {
                            let value = L::load_part(lower.add(column), count, 0.0);
                            L::shift_up::<16>(rounded::<L>(value))
                        }
                    };
                    L::of_bits(L::add_ints(low, high)).store_part(to.add(column), count);
                }
                column += COUNT;
            }
        }
    }
}

/// As [`super::gemm_add_f32`] with both matrices rounded to bf16; with `finish` a bias and an
/// activation at the end, where `adds` is not asked for. The factor `scale` must be 1.
pub fn gemm_bf16(
    isa: Isa,
    team: &dyn Team,
    product: Gemm<'_>,
    finish: (Option<&[f32]>, Activation),
    adds: bool,
    scratch: &mut Vec<f32>,
) {
    let (bias, activation) = finish;
    let fits = product.fits() && bias.is_none_or(|bias| bias.len() >= product.columns);
    let is_plain = bias.is_none() && activation == Activation::None;
    debug_assert!(fits && product.scale == 1.0, "slices too short, or a factor");
    if !fits || product.rows == 0 || product.columns == 0 {
        return;
    }
    // A bias and an activation follow the last sum, so all of it is summed at once.
    let at_once = if is_plain { DEPTH_AT_ONCE } else { product.depth.max(1) };
    let finish = Finish::plain(bias, activation);
    by_depth(product, at_once, |part, begins| {
        run(isa, team, part, &finish, adds || !begins, scratch);
    });
}

/// Rounds `a` into `x` and `b` into `w`, pairs along the depth in a word each.
fn round_both(isa: Isa, product: &Gemm<'_>, x: &mut [f32], w: &mut [f32]) {
    let Gemm { rows, columns, depth, .. } = *product;
    if depth == 0 {
        return;
    }
    let (stride, from) = (product.a_stride, product.a);
    match product.a_transposed {
        true => dispatch(isa, Below { from, stride, rows: depth, columns: rows, to: x }),
        false => dispatch(isa, Neighbours { from, stride, rows, columns: depth, to: x }),
    }
    let (stride, from) = (product.b_stride, product.b);
    match product.b_transposed {
        true => dispatch(isa, Neighbours { from, stride, rows: columns, columns: depth, to: w }),
        false => dispatch(isa, Below { from, stride, rows: depth, columns, to: w }),
    }
}

fn run(
    isa: Isa,
    team: &dyn Team,
    product: Gemm<'_>,
    finish: &Finish,
    adds: bool,
    scratch: &mut Vec<f32>,
) {
    let Gemm { rows, columns, depth, .. } = product;
    let words = depth.div_ceil(2);
    let unpacked = if product.b_transposed { 0 } else { columns - columns % WHOLE };
    let counts = [vectors(columns - unpacked) * COUNT * words, rows * words, columns * words];
    let count = counts.iter().map(|count| count.next_multiple_of(COUNT)).sum::<usize>() + COUNT;
    if scratch.len() < count {
        scratch.resize(count, 0.0);
    }
    let skipped = scratch.as_ptr().align_offset(64).min(COUNT);
    let (packed, rest) = scratch[skipped..].split_at_mut(counts[0].next_multiple_of(COUNT));
    let (x, w) = rest.split_at_mut(counts[1].next_multiple_of(COUNT));
    let (packed, x, w) = (&mut packed[..counts[0]], &mut x[..counts[1]], &mut w[..counts[2]]);
    round_both(isa, &product, x, w);
    // The words as a matrix, which is packed like any other.
    let b_stride = if product.b_transposed { words } else { columns };
    let as_words = Gemm { depth: words, b: w, b_stride, out: &mut [], ..product };
    pack_columns(isa, &as_words, unpacked, packed);
    let (x_stride, x_step) = if product.a_transposed { (1, rows) } else { (words, 1) };
    let job = Job {
        x: x.as_ptr().cast(),
        x_stride,
        x_step,
        rows: (0, rows),
        weights: w.as_ptr().cast(),
        matrix_stride: Some(columns),
        words,
        columns: unpacked,
        panels: (0, 0),
        out: product.out.as_mut_ptr(),
        out_stride: product.out_stride,
        adds,
        finish: *finish,
    };
    multiply_both(isa, team, Number::Bf16, job, (packed, columns));
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::kernels::Alone;
    use crate::kernels::tests::{numbers, sets};

    #[test]
    fn products_are_those_of_rounded_matrices() {
        for (rows, depth, columns) in [(1, 1, 1), (9, 37, 50), (17, 1_100, 96), (64, 64, 20)] {
            let a = numbers(1, rows * depth, 1.0);
            let b = numbers(2, columns * depth, 1.0);
            let round = |x: f32| f64::from(bf16::from_f32(x).to_f32());
            for (a_transposed, b_transposed) in [(false, true), (true, false), (false, false)] {
                let at = |row: usize, k: usize| match a_transposed {
                    true => round(a[k * rows + row]),
                    false => round(a[row * depth + k]),
                };
                let of = |k: usize, column: usize| match b_transposed {
                    true => round(b[column * depth + k]),
                    false => round(b[k * columns + column]),
                };
                for isa in sets() {
                    let mut out = vec![0.5; rows * columns];
                    let product = Gemm {
                        rows,
                        columns,
                        depth,
                        a: &a,
                        a_stride: if a_transposed { rows } else { depth },
                        a_transposed,
                        b: &b,
                        b_stride: if b_transposed { depth } else { columns },
                        b_transposed,
                        scale: 1.0,
                        out: &mut out,
                        out_stride: columns,
                    };
                    let finish = (None, Activation::None);
                    gemm_bf16(isa, &Alone, product, finish, true, &mut Vec::new());
                    for (index, found) in out.iter().enumerate() {
                        let (row, column) = (index / columns, index % columns);
                        let sum: f64 = (0..depth).map(|k| at(row, k) * of(k, column)).sum();
                        let off = (f64::from(*found) - sum - 0.5).abs();
                        assert!(off < 1e-4, "{isa:?} {rows} {depth} {columns}: {off}");
                    }
                }
            }
        }
    }
}
