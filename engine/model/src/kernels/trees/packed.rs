//! Owns trees in 8 bytes a node, all in one form: right where the key is more, left otherwise.
//!
//! Refuses tests for equality, which need two comparisons. Bound: a leaf leads to itself, so that
//! walks of one length end at the right leaves; both children of a node lie beside each other.

use super::keys::{BLOCK_ROWS, KeyRows};
use super::walk;

/// A node: the key that is compared with, and where the children are. The low bits of `link` are
/// the place of the feature in a block of keys, the high bits the number of the left child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub(super) struct Node {
    pub key: i32,
    pub link: u32,
}

/// Where a tree begins and how long its walks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    pub root: u32,
    /// Branches to the nearest leaf.
    pub depth_min: u32,
    /// Branches to the farthest leaf.
    pub depth: u32,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Every child is below the length, every place of a feature within a row of keys.
    pub(super) nodes: Vec<Node>,
    /// The number of the leaf, by node; 0 for branches.
    pub(super) leaves: Vec<u32>,
    pub(super) trees: Vec<Tree>,
    /// The trees from shallow to deep.
    pub(super) order: Vec<u32>,
    /// Bits of `link` that are the place of the feature.
    pub(super) shift: u32,
    pub(super) keys: KeyRows,
}

impl Packed {
    /// How many trees there are.
    pub fn tree_count(&self) -> usize {
        self.trees.len()
    }

    /// How many features a row has at least.
    pub fn feature_count(&self) -> usize {
        self.keys.feature_count
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.nodes[..])
            + size_of_val(&self.leaves[..])
            + size_of_val(&self.trees[..])
            + size_of_val(&self.order[..])
    }

    /// The keys that rows are turned into.
    pub fn keys(&self) -> &KeyRows {
        &self.keys
    }

    /// Writes which leaf the first row of the keys reaches in each tree. Writes nothing if a slice
    /// is too short.
    pub fn leaves_of_one(&self, keys: &[i32], leaves: &mut [u32]) {
        if keys.len() < self.keys.count(1) || leaves.len() < self.trees.len() {
            return;
        }
        walk::one(self, keys, leaves);
    }

    /// Writes which leaf each row of the blocks of keys reaches: tree after tree, for each the
    /// `rows` of the blocks, which must be whole. Writes nothing if a slice is too short.
    pub fn leaves_of_blocks(&self, keys: &[i32], rows: usize, leaves: &mut [u32]) {
        let is_whole = rows.is_multiple_of(BLOCK_ROWS);
        let wanted = self.trees.len().checked_mul(rows);
        if !is_whole || keys.len() < self.keys.count(rows) || wanted != Some(leaves.len()) {
            return;
        }
        walk::blocks(self, keys, rows, leaves);
    }
}
