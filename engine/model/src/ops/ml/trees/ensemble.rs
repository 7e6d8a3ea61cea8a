//! Owns the run of a forest over rows: blocks of rows, in each all trees, in each all rows.
//!
//! Refuses to know what becomes of the sums. Bound: [`BLOCK_LEAVES`] leaves are noted at once, on
//! each of at most [`EACH_MAX`] cores.

use super::settings::Number;
use super::worth::{Gather, Worth};
use crate::kernels::trees::{BLOCK_ROWS, Packed, Plain, SourceTree};
use crate::kernels::{EACH_MAX, run_each};
use crate::ops::ml::rows::Rows;
use crate::program::{Context, RunError};

/// About how many leaves are noted before they are put together, so that they stay in the cache.
const BLOCK_LEAVES: usize = 8192;
/// Most rows of a block.
const ROWS_MAX: usize = 64;
/// Fewer rows than this are walked one by one.
const FEW_ROWS: usize = 3;
/// What a tree takes for a row, where several rows are walked together.
const WALK_NANOS: usize = 6;

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

/// What one core does: its rows, what becomes of them, and its scratch.
struct Part<'a, T> {
    rows: Rows<'a, T>,
    sums: &'a mut [T],
    keys: &'a mut [i32],
    leaves: &'a mut [u32],
}

impl<T> Part<'_, T> {
    /// The first rows with scratch of these sizes, and the rest.
    fn split_at(self, rows: usize, targets: usize, keys: usize, leaves: usize) -> (Self, Self) {
        let (rows, other_rows) = self.rows.split_at(rows);
        let (sums, other_sums) = self.sums.split_at_mut(rows.count * targets);
        let (keys, other_keys) = self.keys.split_at_mut(keys);
        let (leaves, other_leaves) = self.leaves.split_at_mut(leaves);
        let rest =
            Self { rows: other_rows, sums: other_sums, keys: other_keys, leaves: other_leaves };
        (Self { rows, sums, keys, leaves }, rest)
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
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let tree_count = self.tree_count();
        let feature_count = match &self.forest {
            Forest::Packed(packed) => packed.feature_count(),
            Forest::Plain(plain) => plain.feature_count(),
        };
        if rows.width < feature_count {
            let found = format_args!("{} features", rows.width);
            return Err(RunError::input(found, format_args!("at least {feature_count}")));
        }
        let block = self.block_rows();
        let block_keys = match &self.forest {
            Forest::Packed(packed) => packed.keys().count(block),
            Forest::Plain(_) => 0,
        };
        let blocks = rows.count.div_ceil(block);
        let nanos = rows.count.saturating_mul(tree_count).saturating_mul(WALK_NANOS);
        let parts = context.team.parts(nanos).min(blocks).clamp(1, EACH_MAX);
        let (keys, leaves) = (&mut context.scratch.i32s, &mut context.scratch.u32s);
        keys.resize(parts * block_keys, 0);
        leaves.resize(parts * tree_count * block, 0);
        if parts == 1 {
            self.run_part(how, Part { rows, sums, keys, leaves });
            return Ok(());
        }
        let targets = self.worth.shares().len();
        let mut left = Some(Part { rows, sums, keys, leaves });
        let parts = (0..parts).map_while(|index| {
            let bound = |index| rows.count.min(blocks * index / parts * block);
            let count = bound(index + 1) - bound(index);
            let (part, rest) =
                left.take()?.split_at(count, targets, block_keys, tree_count * block);
            left = Some(rest);
            Some(part)
        });
        run_each(context.team, parts, |part| self.run_part(how, part));
        Ok(())
    }

    fn tree_count(&self) -> usize {
        match &self.forest {
            Forest::Packed(packed) => packed.tree_count(),
            Forest::Plain(plain) => plain.tree_count(),
        }
    }

    /// Rows whose leaves are noted at once.
    fn block_rows(&self) -> usize {
        let rows = (BLOCK_LEAVES / self.tree_count().max(1)).clamp(BLOCK_ROWS, ROWS_MAX);
        rows - rows % BLOCK_ROWS
    }

    /// All rows of a part, on this core.
    fn run_part(&self, how: Gather, part: Part<'_, T>) {
        let Part { rows, sums, keys, leaves } = part;
        let (targets, tree_count) = (self.worth.shares().len(), self.tree_count());
        let block = self.block_rows();
        let mut first = 0;
        while first < rows.count {
            let left = rows.count - first;
            let count = if left < FEW_ROWS { 1 } else { left.min(block) };
            let values = &rows.values[first * rows.width..][..count * rows.width];
            let stride = match count {
                1 => 1,
                _ => count.next_multiple_of(BLOCK_ROWS),
            };
            let leaves = &mut leaves[..tree_count * stride];
            match &self.forest {
                Forest::Packed(packed) => {
                    let keys = &mut keys[..packed.keys().count(stride)];
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
    }
}
