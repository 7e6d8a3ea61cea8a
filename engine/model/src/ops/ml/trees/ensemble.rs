//! Owns the run of a forest over rows: blocks of rows, in each all trees, in each all rows.
//!
//! Refuses to know what becomes of the sums. Bound: [`BLOCK_LEAVES`] leaves are noted at once.

use super::settings::Number;
use super::worth::{Gather, Worth};
use crate::kernels::trees::{BLOCK_ROWS, Packed, Plain, SourceTree};
use crate::ops::ml::rows::Rows;
use crate::program::{RunError, Scratch};

/// About how many leaves are noted before they are put together, so that they stay in the cache.
const BLOCK_LEAVES: usize = 8192;
/// Most rows of a block.
const ROWS_MAX: usize = 64;
/// Fewer rows than this are walked one by one.
const FEW_ROWS: usize = 3;

/// See the module.
#[derive(Clone, Debug)]
pub struct Ensemble<T> {
    forest: Forest<T>,
    /// What the leaves are worth.
    pub worth: Worth<T>,
}

#[derive(Clone, Debug)]
enum Forest<T> {
    Packed(Packed),
    Plain(Plain<T>),
}

/// Numbers whose trees may be packed.
pub trait Pack: Number {
    /// The packed trees, if they can be.
    fn pack(trees: &[SourceTree<Self>]) -> Option<Packed>;
    /// The numbers as packed trees take them.
    fn packable(values: &[Self]) -> &[f32];
}

impl Pack for f32 {
    fn pack(trees: &[SourceTree<f32>]) -> Option<Packed> {
        Packed::new(trees)
    }

    fn packable(values: &[f32]) -> &[f32] {
        values
    }
}

impl Pack for f64 {
    fn pack(_: &[SourceTree<f64>]) -> Option<Packed> {
        None
    }

    fn packable(_: &[f64]) -> &[f32] {
        &[]
    }
}

impl<T: Pack> Ensemble<T> {
    /// Takes the trees and what their leaves are worth.
    pub fn new(trees: Vec<SourceTree<T>>, members: Vec<T>, worth: Worth<T>) -> Self {
        let forest = match T::pack(&trees) {
            Some(packed) => Forest::Packed(packed),
            None => Forest::Plain(Plain::new(trees, members)),
        };
        Self { forest, worth }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let forest = match &self.forest {
            Forest::Packed(packed) => packed.bytes(),
            Forest::Plain(plain) => plain.bytes(),
        };
        forest + self.worth.bytes()
    }

    /// Puts together what each row gets: `sums` holds all targets of a row, row after row.
    ///
    /// # Errors
    /// [`RunError::Input`] for rows with fewer features than the trees ask for.
    pub fn run(
        &self,
        rows: Rows<'_, T>,
        how: Gather,
        sums: &mut [T],
        scratch: &mut Scratch,
    ) -> Result<(), RunError> {
        let (tree_count, feature_count) = match &self.forest {
            Forest::Packed(packed) => (packed.tree_count(), packed.feature_count()),
            Forest::Plain(plain) => (plain.tree_count(), plain.feature_count()),
        };
        if rows.width < feature_count {
            let found = format_args!("{} features", rows.width);
            return Err(RunError::input(found, format_args!("at least {feature_count}")));
        }
        let targets = self.worth.shares().len();
        let whole = (BLOCK_LEAVES / tree_count.max(1)).clamp(BLOCK_ROWS, ROWS_MAX);
        let whole = whole - whole % BLOCK_ROWS;
        let mut first = 0;
        while first < rows.count {
            let left = rows.count - first;
            let count = if left < FEW_ROWS { 1 } else { left.min(whole) };
            let values = &rows.values[first * rows.width..][..count * rows.width];
            let stride = match count {
                1 => 1,
                _ => count.next_multiple_of(BLOCK_ROWS),
            };
            let Scratch { i32s: keys, u32s: leaves, .. } = &mut *scratch;
            leaves.resize(tree_count * stride, 0);
            match &self.forest {
                Forest::Packed(packed) => {
                    keys.resize(packed.keys().count(stride), 0);
                    packed.keys().fill(T::packable(values), rows.width, keys);
                    match count {
                        1 => packed.leaves_of_one(keys, leaves),
                        _ => packed.leaves_of_blocks(keys, stride, leaves),
                    }
                }
                Forest::Plain(plain) => plain.leaves(values, rows.width, stride, leaves),
            }
            let sums = &mut sums[first * targets..][..count * targets];
            self.worth.gather(how, leaves, stride, sums);
            first += count;
        }
        Ok(())
    }
}
