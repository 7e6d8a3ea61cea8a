//! Owns the product of two matrices that both change from run to run.
//!
//! Refuses to know what they are. Bound: the right one is packed into scratch, so that large
//! products run as fast as those with constant weights; the bits of a row's result depend on that
//! row and the right matrix alone.

use super::lanes::COUNT;
use super::tiles::{Finish, Job, Number, PANEL, multiply, vectors};
use super::transpose::{Transpose, transpose};
use super::{Activation, Isa, Team};

/// `out = scale · a · b`, `rows` by `columns`, summed over `depth`.
#[derive(Debug)]
pub struct Gemm<'a> {
    /// Rows of `a` and `out`.
    pub rows: usize,
    /// Columns of `b` and `out`.
    pub columns: usize,
    /// Columns of `a` and rows of `b`.
    pub depth: usize,
    /// `[rows, depth]`.
    pub a: &'a [f32],
    /// Numbers from one row of `a` to the next; of the transposed one if that is given.
    pub a_stride: usize,
    /// Whether `a` is `[depth, rows]`.
    pub a_transposed: bool,
    /// `[depth, columns]`.
    pub b: &'a [f32],
    /// Numbers from one row of `b`, as it lies, to the next.
    pub b_stride: usize,
    /// Whether `b` is `[columns, depth]`.
    pub b_transposed: bool,
    /// Factor of the result.
    pub scale: f32,
    /// `[rows, columns]`.
    pub out: &'a mut [f32],
    /// Numbers from one row of `out` to the next.
    pub out_stride: usize,
}

/// Whether `rows` rows of `columns` numbers, `stride` apart, lie within `count`.
fn fits(rows: usize, columns: usize, stride: usize, count: usize) -> bool {
    if rows == 0 || columns == 0 {
        return true;
    }
    let end = (rows - 1).checked_mul(stride).and_then(|start| start.checked_add(columns));
    (rows == 1 || stride >= columns) && end.is_some_and(|end| end <= count)
}

impl Gemm<'_> {
    pub(super) fn fits(&self) -> bool {
        let (a_rows, a_columns) = match self.a_transposed {
            true => (self.depth, self.rows),
            false => (self.rows, self.depth),
        };
        let (b_rows, b_columns) = match self.b_transposed {
            true => (self.columns, self.depth),
            false => (self.depth, self.columns),
        };
        fits(a_rows, a_columns, self.a_stride, self.a.len())
            && fits(b_rows, b_columns, self.b_stride, self.b.len())
            && fits(self.rows, self.columns, self.out_stride, self.out.len())
    }
}

/// Columns of a whole panel.
const WHOLE: usize = PANEL * COUNT;
/// Rows of `a` up to which packing `b` costs more than reading it where it lies.
const ROWS_UNPACKED_MAX: usize = 96;

/// Rows of `b` whose products are summed before the next ones are added, where that is asked for:
/// a panel of so many stays in the second cache.
pub(super) const DEPTH_AT_ONCE: usize = 512;

/// Computes a product; the scratch grows to the size of `b`.
/// Slices that are too short are a mistake of the caller: nothing is computed.
pub fn gemm_f32(isa: Isa, team: &dyn Team, product: Gemm<'_>, scratch: &mut Vec<f32>) {
    gemm_layer_f32(isa, team, product, None, Activation::None, scratch);
}

/// As [`gemm_f32`], then plus a bias for each column, then through an activation.
pub fn gemm_layer_f32(
    isa: Isa,
    team: &dyn Team,
    product: Gemm<'_>,
    bias: Option<&[f32]>,
    activation: Activation,
    scratch: &mut Vec<f32>,
) {
    let fits = product.fits() && bias.is_none_or(|bias| bias.len() >= product.columns);
    debug_assert!(fits, "the slices of a product are too short");
    if fits && product.rows > 0 && product.columns > 0 {
        run(isa, team, product, &Finish::plain(bias, activation), false, scratch);
    }
}

/// As [`gemm_f32`], some rows of `b` at a time, whose product is added to what `out` holds, or,
/// with `is_first`, the first of which writes over it.
pub fn gemm_add_f32(
    isa: Isa,
    team: &dyn Team,
    product: Gemm<'_>,
    is_first: bool,
    scratch: &mut Vec<f32>,
) {
    let fits = product.fits();
    debug_assert!(fits, "the slices of a product are too short");
    if !fits || product.rows == 0 || product.columns == 0 {
        return;
    }
    let finish = Finish::plain(None, Activation::None);
    by_depth(product, DEPTH_AT_ONCE, |part, begins| {
        run(isa, team, part, &finish, !is_first || !begins, scratch);
    });
}

/// Gives a product in parts of so many rows of `b`, each with whether it is the first.
pub(super) fn by_depth(product: Gemm<'_>, at_once: usize, mut give: impl FnMut(Gemm<'_>, bool)) {
    let mut first = 0;
    loop {
        let depth = at_once.min(product.depth - first);
        let a = first * if product.a_transposed { product.a_stride } else { 1 };
        let b = first * if product.b_transposed { 1 } else { product.b_stride };
        let part = Gemm {
            depth,
            a: product.a.get(a..).unwrap_or_default(),
            b: product.b.get(b..).unwrap_or_default(),
            out: &mut *product.out,
            ..product
        };
        give(part, first == 0);
        first += depth;
        if first >= product.depth {
            return;
        }
    }
}

/// Multiplies the columns of `job`, which are read where they lie, and then those behind them up
/// to `columns`, which are packed.
pub(super) fn multiply_both(
    isa: Isa,
    team: &dyn Team,
    number: Number,
    job: Job,
    (packed, columns): (&[f32], usize),
) {
    let unpacked = job.columns;
    if unpacked > 0 {
        multiply(isa, team, number, &job);
    }
    if unpacked < columns {
        let bias = match job.finish.bias.is_null() {
            true => job.finish.bias,
            false => job.finish.bias.wrapping_add(unpacked),
        };
        let job = Job {
            weights: packed.as_ptr().cast(),
            matrix_stride: None,
            columns: columns - unpacked,
            out: job.out.wrapping_add(unpacked),
            finish: Finish { bias, ..job.finish },
            ..job
        };
        multiply(isa, team, number, &job);
    }
}

/// Computes a product whose slices are long enough.
fn run(
    isa: Isa,
    team: &dyn Team,
    product: Gemm<'_>,
    finish: &Finish,
    adds: bool,
    scratch: &mut Vec<f32>,
) {
    let Gemm { rows, columns, depth, .. } = product;
    // Whole panels can be read where they lie; what is left is packed.
    let unpacked = match !product.b_transposed && rows <= ROWS_UNPACKED_MAX && depth > 0 {
        true => columns - columns % WHOLE,
        false => 0,
    };
    let b_count = vectors(columns - unpacked) * COUNT * depth;
    // Room to begin at a cache line.
    let count = b_count + COUNT;
    if scratch.len() < count {
        scratch.resize(count, 0.0);
    }
    let skipped = scratch.as_ptr().align_offset(64).min(COUNT);
    let packed_b = &mut scratch[skipped..][..b_count];
    pack_columns(isa, &product, unpacked, packed_b);
    let (x_stride, x_step) = match product.a_transposed {
        true => (1, product.a_stride),
        false => (product.a_stride, 1),
    };
    let job = Job {
        x: product.a.as_ptr().cast(),
        x_stride,
        x_step,
        rows: (0, rows),
        weights: product.b.as_ptr().cast(),
        matrix_stride: Some(product.b_stride),
        words: depth,
        columns: unpacked,
        panels: (0, 0),
        out: product.out.as_mut_ptr(),
        out_stride: product.out_stride,
        adds,
        finish: Finish { scale: product.scale, ..*finish },
    };
    multiply_both(isa, team, Number::F32, job, (packed_b, columns));
}

/// Packs the right matrix from the column `first` on as [`super::tiles::Panels`] lies.
pub(super) fn pack_columns(isa: Isa, product: &Gemm<'_>, first: usize, packed: &mut [f32]) {
    let Gemm { columns, depth, b, b_stride, .. } = *product;
    let padded = first + vectors(columns - first) * COUNT;
    let (mut packed, mut first) = (packed, first);
    while first < columns {
        let width = WHOLE.min(padded - first);
        let count = width.min(columns - first);
        let (panel, others) = packed.split_at_mut(width * depth);
        packed = others;
        if product.b_transposed {
            let matrix = Transpose {
                rows: count,
                columns: depth,
                from: &b[first * b_stride..],
                from_stride: b_stride,
                to_stride: width,
                padded_rows: width,
            };
            transpose(isa, matrix, panel);
        } else {
            for (index, row) in panel.chunks_exact_mut(width).enumerate() {
                let start = index * b_stride + first;
                let from = &b[start..start + count];
                // A length that the compiler knows becomes a few instructions.
                if let (Some(row), Some(from)) = (row.as_mut_array(), from.as_array::<WHOLE>()) {
                    *row = *from;
                } else {
                    row[..count].copy_from_slice(from);
                    row[count..].fill(0.0);
                }
            }
        }
        first += width;
    }
}
