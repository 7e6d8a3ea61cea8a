//! Owns the transposition of a matrix, in blocks of sixteen by sixteen.
//!
//! Refuses to know what the numbers are. Bound: one pass; nothing is computed where the slices are
//! too short.

use super::Isa;
use super::lanes::{COUNT, Kernel, Lanes, dispatch};

/// A matrix and where its transposed one lies.
#[derive(Clone, Copy, Debug)]
pub struct Transpose<'a> {
    /// Rows that are read.
    pub rows: usize,
    /// Columns that are read; as many rows are written.
    pub columns: usize,
    /// `[rows, columns]`.
    pub from: &'a [f32],
    /// Numbers from one row to the next.
    pub from_stride: usize,
    /// Numbers from one written row to the next.
    pub to_stride: usize,
    /// Numbers of each written row: those beyond `rows` become zeros.
    pub padded_rows: usize,
}

impl Transpose<'_> {
    fn fits(&self, to: usize) -> bool {
        let end = |rows: usize, stride: usize, columns: usize| match rows {
            0 => Some(0),
            _ => (rows - 1).checked_mul(stride).and_then(|start| start.checked_add(columns)),
        };
        self.padded_rows >= self.rows
            && self.from_stride >= self.columns
            && self.to_stride >= self.padded_rows
            && end(self.rows, self.from_stride, self.columns).is_some_and(|e| e <= self.from.len())
            && end(self.columns, self.to_stride, self.padded_rows).is_some_and(|e| e <= to)
    }
}

struct Blocks<'a> {
    matrix: Transpose<'a>,
    to: *mut f32,
}

impl Kernel for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Transpose { rows, columns, from, from_stride, to_stride, padded_rows } = self.matrix;
        let mut column = 0;
        while column < columns {
            let width = COUNT.min(columns - column);
            let mut row = 0;
            while row < padded_rows {
                let height = COUNT.min(padded_rows - row);
                let mut block = [L::splat(0.0); COUNT];
                for (index, lanes) in block.iter_mut().enumerate() {
                    if row + index < rows {
                        let start = (row + index) * from_stride + column;
                        // SAFETY: `fits` holds: row and columns lie within `from`.
                        *lanes = unsafe { L::load_part(from.as_ptr().add(start), width, 0.0) };
                    }
                }
                let block = L::transpose(block);
                for (index, lanes) in block.iter().enumerate().take(width) {
                    let start = (column + index) * to_stride + row;
                    // SAFETY: as above, within `to`.
                    unsafe { lanes.store_part(self.to.add(start), height) };
                }
                row += COUNT;
            }
            column += COUNT;
        }
    }
}

/// Writes the transposed matrix. Slices that are too short are a mistake of the caller: nothing is
/// written.
pub fn transpose(isa: Isa, matrix: Transpose<'_>, to: &mut [f32]) {
    let fits = matrix.fits(to.len());
    debug_assert!(fits, "the slices of a transposition are too short");
    if fits {
        dispatch(isa, Blocks { matrix, to: to.as_mut_ptr() });
    }
}
