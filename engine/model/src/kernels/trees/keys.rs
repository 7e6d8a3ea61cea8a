//! Owns the whole numbers that features are compared by: one order for all floating-point numbers,
//! and a place in it for what is not a number.
//!
//! Refuses to know trees. Bound: [`BLOCK_ROWS`] rows beside each other, so that a walk of that many
//! rows finds a feature of all of them in one line of the cache.

/// Rows of one block.
pub const BLOCK_ROWS: usize = 8;

/// Where features that are not numbers stand in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nan {
    Last,
    First,
}

/// The place of a number in the order of all: for numbers `a > b` is the same as
/// `key(a) > key(b)`, and both zeros are one. What is not a number is `i32::MAX`.
#[inline(always)]
pub(super) fn key(value: f32) -> i32 {
    // Adding 0 turns the negative zero into the other.
    let bits = (value + 0.0).to_bits() as i32;
    let key = bits ^ ((bits >> 31) as u32 >> 1) as i32;
    if value.is_nan() { i32::MAX } else { key }
}

/// Which keys a forest compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRows {
    /// How many features are read.
    pub(super) feature_count: usize,
    /// Whether a row has keys with NaN last, and behind them keys with NaN first.
    pub(super) copies: Vec<Nan>,
}

impl KeyRows {
    /// Keys of one row.
    pub fn width(&self) -> usize {
        self.feature_count * self.copies.len()
    }

    /// Keys of this many rows, whole blocks.
    pub fn count(&self, rows: usize) -> usize {
        rows.div_ceil(BLOCK_ROWS) * BLOCK_ROWS * self.width()
    }

    /// Writes the keys of rows that are `stride` numbers long, block after block. Rows that fill
    /// the last block hold whatever was there. Writes nothing if a slice is too short.
    pub fn fill(&self, rows: &[f32], stride: usize, keys: &mut [i32]) {
        let width = self.width();
        if stride == 0 || width == 0 || stride < self.feature_count {
            return;
        }
        let blocks = keys.chunks_exact_mut(BLOCK_ROWS * width);
        for (rows, keys) in rows.chunks(BLOCK_ROWS * stride).zip(blocks) {
            for (lane, row) in rows.chunks_exact(stride).enumerate() {
                let row = &row[..self.feature_count];
                for (copy, nan) in self.copies.iter().enumerate() {
                    let start = copy * self.feature_count * BLOCK_ROWS;
                    let keys = &mut keys[start..start + self.feature_count * BLOCK_ROWS];
                    for (line, value) in keys.chunks_exact_mut(BLOCK_ROWS).zip(row) {
                        let is_first = *nan == Nan::First && value.is_nan();
                        line[lane] = if is_first { i32::MIN } else { key(*value) };
                    }
                }
            }
        }
    }
}
