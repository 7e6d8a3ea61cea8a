//! Owns the packing of trees: level after level, every test turned into "more than a key".
//!
//! Refuses what does not fit, which [`super::Plain`] takes. Bound: one pass over the nodes.

use super::keys::{BLOCK_ROWS, KeyRows, Nan, key};
use super::packed::{Node, Packed, Tree};
use super::source::{Branch, SourceNode, SourceTree, Test};

/// A branch in the one form: right where the key of the feature is more.
struct Turned {
    key: i32,
    nan: Nan,
    left: u32,
    right: u32,
}

impl Packed {
    /// Packs trees; none if one has a test for equality or membership, or there are too many nodes
    /// and features for 32 bits.
    pub fn new(trees: &[SourceTree<f32>]) -> Option<Self> {
        let branches = || trees.iter().flat_map(SourceTree::branches);
        let (mut has_last, mut has_first) = (false, false);
        for branch in branches() {
            match turn(branch)?.nan {
                Nan::Last => has_last = true,
                Nan::First => has_first = true,
            }
        }
        let copies = match (has_last, has_first) {
            (_, false) => vec![Nan::Last],
            (false, true) => vec![Nan::First],
            (true, true) => vec![Nan::Last, Nan::First],
        };
        let feature_count = branches().map(|branch| branch.feature).max();
        let feature_count = feature_count.map_or(1, |last| last as usize + 1);
        let keys = KeyRows { feature_count, copies };
        let places = feature_count.checked_mul(2 * BLOCK_ROWS)?;
        let shift = places.checked_next_power_of_two()?.trailing_zeros();
        let node_count: usize = trees.iter().map(|tree| tree.nodes().len()).sum();
        if shift >= 31 || node_count >= (1usize << (32 - shift)) - 1 {
            return None;
        }
        let mut packed = Self {
            nodes: Vec::with_capacity(node_count),
            leaves: vec![0; node_count],
            trees: Vec::with_capacity(trees.len()),
            order: (0..trees.len() as u32).collect(),
            shift,
            keys,
        };
        for tree in trees {
            packed.add(tree)?;
        }
        let Self { trees, order, .. } = &mut packed;
        order.sort_by_key(|tree| trees[*tree as usize].depth);
        Some(packed)
    }

    /// Adds a tree, level after level.
    fn add(&mut self, tree: &SourceTree<f32>) -> Option<()> {
        let root = self.nodes.len();
        let mut depth_min = u32::MAX;
        // The nodes of the source in the order in which they are packed, with their depths.
        let mut queue = vec![(0u32, 0u32)];
        let mut next = 0;
        while let Some((source, depth)) = queue.get(next).copied() {
            let own = root + next;
            next += 1;
            let node = match tree.nodes()[source as usize] {
                SourceNode::Leaf(leaf) => {
                    depth_min = depth_min.min(depth);
                    self.leaves[own] = leaf;
                    // No key is more, so it stays here.
                    Node { key: i32::MAX, link: (own as u32) << self.shift }
                }
                SourceNode::Branch(branch) => {
                    let turned = turn(&branch)?;
                    let child = (root + queue.len()) as u32;
                    queue.push((turned.left, depth + 1));
                    queue.push((turned.right, depth + 1));
                    let copy = self.keys.copies.iter().position(|nan| *nan == turned.nan)?;
                    let place = copy * self.keys.feature_count + branch.feature as usize;
                    let place = (place * BLOCK_ROWS) as u32;
                    Node { key: turned.key, link: child << self.shift | place }
                }
            };
            self.nodes.push(node);
        }
        self.trees.push(Tree { root: root as u32, depth_min, depth: tree.depth() });
        Some(())
    }
}

/// Turns a test into one for more; none for equality and membership.
fn turn(branch: &Branch<f32>) -> Option<Turned> {
    let Branch { threshold, nan_is_yes, yes, no, .. } = *branch;
    let nan = |is_right: bool| if is_right { Nan::Last } else { Nan::First };
    // `is_less` is whether the threshold itself goes right: then the key below it is compared
    // with. The smallest key of a number is far above the smallest there is.
    let (is_less, is_yes_left) = match branch.test {
        Test::AtMost => (false, true),
        Test::Less => (true, true),
        Test::More => (false, false),
        Test::AtLeast => (true, false),
        Test::Equal | Test::Different | Test::Member { .. } => return None,
    };
    // No comparison with what is not a number is ever yes: all numbers go right, to no.
    if threshold.is_nan() {
        return Some(Turned { key: i32::MIN, nan: nan(!nan_is_yes), left: yes, right: no });
    }
    let key = key(threshold) - i32::from(is_less);
    Some(match is_yes_left {
        true => Turned { key, nan: nan(!nan_is_yes), left: yes, right: no },
        false => Turned { key, nan: nan(nan_is_yes), left: no, right: yes },
    })
}
