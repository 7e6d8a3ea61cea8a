//! Owns trees with any test on numbers of either width, walked one row and one tree at a time.
//!
//! Refuses to be fast: it is for what [`super::Packed`] cannot hold. Bound: the depth of the trees.

use super::source::{Branch, SourceNode, SourceTree, Test, Threshold};

/// See the module.
#[derive(Clone, Debug)]
pub struct Plain<T> {
    trees: Vec<SourceTree<T>>,
    members: Vec<T>,
    feature_count: usize,
}

impl<T: Threshold> Plain<T> {
    /// Takes the trees, and the members of all sets that they ask for.
    pub fn new(trees: Vec<SourceTree<T>>, members: Vec<T>) -> Self {
        let features = trees.iter().flat_map(SourceTree::branches).map(|branch| branch.feature);
        let feature_count = features.max().map_or(0, |last| last as usize + 1);
        Self { trees, members, feature_count }
    }

    /// How many trees there are.
    pub fn tree_count(&self) -> usize {
        self.trees.len()
    }

    /// How many features a row has at least.
    pub fn feature_count(&self) -> usize {
        self.feature_count
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let nodes = self.trees.iter().map(|tree| size_of_val(tree.nodes()));
        nodes.sum::<usize>() + size_of_val(&self.trees[..]) + size_of_val(&self.members[..])
    }

    /// Writes which leaf each row of `width` features reaches: tree after tree, for each `stride`
    /// rows, of which those that are there are written. Nothing for rows that are too short.
    pub fn leaves(&self, rows: &[T], width: usize, stride: usize, leaves: &mut [u32]) {
        if width == 0 || width < self.feature_count || stride == 0 {
            return;
        }
        for (tree, leaves) in self.trees.iter().zip(leaves.chunks_exact_mut(stride)) {
            for (row, leaf) in rows.chunks_exact(width).zip(leaves) {
                let mut node = tree.nodes()[0];
                while let SourceNode::Branch(branch) = node {
                    let next = if self.is_yes(&branch, row) { branch.yes } else { branch.no };
                    node = tree.nodes()[next as usize];
                }
                if let SourceNode::Leaf(number) = node {
                    *leaf = number;
                }
            }
        }
    }

    #[allow(clippy::eq_op, reason = "only what is not a number differs from itself")]
    fn is_yes(&self, branch: &Branch<T>, row: &[T]) -> bool {
        let (value, threshold) = (row[branch.feature as usize], branch.threshold);
        let answer = match branch.test {
            Test::AtMost => value <= threshold,
            Test::Less => value < threshold,
            Test::AtLeast => value >= threshold,
            Test::More => value > threshold,
            Test::Equal => value == threshold,
            Test::Different => value != threshold,
            Test::Member { start, count } => {
                let members = self.members.iter().skip(start as usize).take(count as usize);
                members.into_iter().any(|member| *member == value)
            }
        };
        answer || (branch.nan_is_yes && value != value)
    }
}
