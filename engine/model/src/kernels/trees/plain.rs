//! Owns trees with any test on numbers of either width, walked one row and one tree at a time.
//!
//! Refuses to be fast: it is for what [`super::Packed`] cannot hold. Bound: the depth of the trees.

use super::source::{Branch, SourceNode, SourceTree, Test, Threshold};

/// See the module.
#[derive(Clone, Debug)]
pub struct Plain<T> {
    trees: Vec<SourceTree<T>>,
    feature_count: usize,
}

impl<T: Threshold> Plain<T> {
    /// Takes the trees.
    pub fn new(trees: Vec<SourceTree<T>>) -> Self {
        let features = trees.iter().flat_map(SourceTree::branches).map(|branch| branch.feature);
        let feature_count = features.max().map_or(0, |last| last as usize + 1);
        Self { trees, feature_count }
    }

    /// How many trees there are.
    pub fn tree_count(&self) -> usize {
        self.trees.len()
    }

    /// How many features a row has at least.
    pub fn feature_count(&self) -> usize {
        self.feature_count
    }

    /// Writes which leaf one row reaches in each tree; nothing for a row that is too short.
    pub fn leaves(&self, row: &[T], leaves: &mut [u32]) {
        if row.len() < self.feature_count {
            return;
        }
        for (tree, leaf) in self.trees.iter().zip(leaves) {
            let mut node = tree.nodes()[0];
            while let SourceNode::Branch(branch) = node {
                let next = if is_yes(&branch, row) { branch.yes } else { branch.no };
                node = tree.nodes()[next as usize];
            }
            if let SourceNode::Leaf(number) = node {
                *leaf = number;
            }
        }
    }
}

#[allow(clippy::eq_op, reason = "only what is not a number differs from itself")]
fn is_yes<T: Threshold>(branch: &Branch<T>, row: &[T]) -> bool {
    let (value, threshold) = (row[branch.feature as usize], branch.threshold);
    let answer = match branch.test {
        Test::AtMost => value <= threshold,
        Test::Less => value < threshold,
        Test::AtLeast => value >= threshold,
        Test::More => value > threshold,
        Test::Equal => value == threshold,
        Test::Different => value != threshold,
    };
    answer || (branch.nan_is_yes && value != value)
}
