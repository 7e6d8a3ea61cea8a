//! Owns what the leaves of a forest are worth and how that is put together for a row.
//!
//! Refuses leaves that are worth nothing or the same target twice. Bound: the sums are taken in the
//! order of the trees.

use super::settings::Number;
use crate::kernels::trees::{SourceNode, SourceTree};

/// What a leaf adds to one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry<T> {
    pub target: u32,
    pub weight: T,
}

/// How often a target gets something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// No leaf is worth something to it.
    Never,
    /// It depends on the row.
    Sometimes,
    /// A tree has it in all leaves.
    Always,
}

/// How the weights of the trees are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// Their sum.
    Sum,
    /// Their sum by the number of trees.
    Average,
    /// The least.
    Least,
    /// The most.
    Most,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Worth<T> {
    /// By target.
    shares: Vec<Share>,
    form: Form<T>,
    tree_count: usize,
}

#[derive(Clone, Debug)]
enum Form<T> {
    /// Every leaf is worth this to the one target that there is.
    One { target: usize, weights: Vec<T> },
    /// Every leaf is worth something to one target.
    OneEach(Vec<Entry<T>>),
    /// Every leaf is worth something to all targets, in their order.
    All(Vec<T>),
    /// Leaf `i` has the entries from `starts[i]` to `starts[i + 1]`.
    Any { starts: Vec<u32>, entries: Vec<Entry<T>> },
}

impl<T: Number> Worth<T> {
    /// Takes the entries of each leaf; their targets are below `target_count`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(
        trees: &[SourceTree<T>],
        leaves: Vec<Vec<Entry<T>>>,
        target_count: usize,
    ) -> Result<Self, String> {
        for entries in &leaves {
            if entries.iter().any(|entry| entry.weight.is_nan()) {
                return Err("a weight is not a number".to_owned());
            }
            let mut targets: Vec<u32> = entries.iter().map(|entry| entry.target).collect();
            targets.sort_unstable();
            if targets.is_empty() {
                return Err("a leaf is worth nothing".to_owned());
            }
            if targets.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err("a leaf is worth something to one target twice".to_owned());
            }
        }
        let shares = shares(trees, &leaves, target_count);
        Ok(Self { shares, form: Form::new(leaves, target_count), tree_count: trees.len() })
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let form = match &self.form {
            Form::One { weights, .. } | Form::All(weights) => size_of_val(&weights[..]),
            Form::OneEach(entries) => size_of_val(&entries[..]),
            Form::Any { starts, entries } => size_of_val(&starts[..]) + size_of_val(&entries[..]),
        };
        form + size_of_val(&self.shares[..])
    }

    /// How often each target gets something.
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// The only target that ever gets something, if it is one.
    pub fn only_target(&self) -> Option<usize> {
        match &self.form {
            Form::One { target, .. } => Some(*target),
            _ => None,
        }
    }

    /// Whether no weight is below 0.
    pub fn is_positive(&self) -> bool {
        let is_positive = |weight: &T| *weight >= T::ZERO;
        match &self.form {
            Form::One { weights, .. } | Form::All(weights) => weights.iter().all(is_positive),
            Form::OneEach(entries) | Form::Any { entries, .. } => {
                entries.iter().all(|entry| is_positive(&entry.weight))
            }
        }
    }

    /// Puts together what rows get: `leaves` are those of the first tree, then of the next, each
    /// with `stride` rows of which the first count; `sums` are the targets of the first row, then
    /// of the next.
    pub fn gather(&self, how: Gather, leaves: &[u32], stride: usize, sums: &mut [T]) {
        match how {
            Gather::Sum | Gather::Average => {
                sums.fill(T::ZERO);
                self.each(leaves, stride, sums, |sum, weight| *sum += weight);
                if how == Gather::Average {
                    let count = T::of(self.tree_count as f64);
                    sums.iter_mut().for_each(|sum| *sum = *sum / count);
                }
            }
            Gather::Least => {
                self.begin(-T::LOWEST, sums);
                let less = |sum: &mut T, weight| *sum = if weight < *sum { weight } else { *sum };
                self.each(leaves, stride, sums, less);
            }
            Gather::Most => {
                self.begin(T::LOWEST, sums);
                let more = |sum: &mut T, weight| *sum = if weight > *sum { weight } else { *sum };
                self.each(leaves, stride, sums, more);
            }
        }
    }

    /// Sets all sums to what they are before the first tree; those that get nothing stay 0.
    fn begin(&self, first: T, sums: &mut [T]) {
        for sums in sums.chunks_exact_mut(self.shares.len()) {
            for (sum, share) in sums.iter_mut().zip(&self.shares) {
                *sum = if *share == Share::Never { T::ZERO } else { first };
            }
        }
    }

    /// Calls `add` for each weight in the order of the trees.
    #[inline(always)]
    fn each(&self, leaves: &[u32], stride: usize, sums: &mut [T], add: impl Fn(&mut T, T)) {
        let targets = self.shares.len();
        for leaves in leaves.chunks_exact(stride) {
            let rows = leaves.iter().map(|leaf| *leaf as usize).zip(sums.chunks_exact_mut(targets));
            match &self.form {
                Form::One { target, weights } => {
                    for (leaf, sums) in rows {
                        add(&mut sums[*target], weights[leaf]);
                    }
                }
                Form::OneEach(entries) => {
                    for (leaf, sums) in rows {
                        let entry = &entries[leaf];
                        add(&mut sums[entry.target as usize], entry.weight);
                    }
                }
                Form::All(weights) => {
                    for (leaf, sums) in rows {
                        let weights = &weights[leaf * targets..][..targets];
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            add(sum, *weight);
                        }
                    }
                }
                Form::Any { starts, entries } => {
                    for (leaf, sums) in rows {
                        let own = starts[leaf] as usize..starts[leaf + 1] as usize;
                        for entry in &entries[own] {
                            add(&mut sums[entry.target as usize], entry.weight);
                        }
                    }
                }
            }
        }
    }
}

impl<T: Number> Form<T> {
    fn new(leaves: Vec<Vec<Entry<T>>>, target_count: usize) -> Self {
        let first = leaves.first().and_then(|entries| entries.first());
        let target = first.map_or(0, |entry| entry.target);
        if leaves.iter().all(|entries| entries.len() == 1) {
            let entries: Vec<Entry<T>> = leaves.into_iter().flatten().collect();
            return match entries.iter().all(|entry| entry.target == target) {
                true => {
                    let weights = entries.iter().map(|entry| entry.weight).collect();
                    Self::One { target: target as usize, weights }
                }
                false => Self::OneEach(entries),
            };
        }
        // Targets are below the count, and none stands twice.
        let is_all = |entries: &Vec<Entry<T>>| entries.len() == target_count;
        if leaves.iter().all(is_all) {
            let mut weights = vec![T::ZERO; leaves.len() * target_count];
            for (weights, entries) in weights.chunks_exact_mut(target_count).zip(&leaves) {
                for entry in entries {
                    weights[entry.target as usize] = entry.weight;
                }
            }
            return Self::All(weights);
        }
        let mut starts = vec![0];
        let mut entries = Vec::new();
        for own in leaves {
            entries.extend(own);
            starts.push(entries.len() as u32);
        }
        Self::Any { starts, entries }
    }
}

fn shares<T: Number>(
    trees: &[SourceTree<T>],
    leaves: &[Vec<Entry<T>>],
    target_count: usize,
) -> Vec<Share> {
    let mut shares = vec![Share::Never; target_count];
    let mut counts = vec![0usize; target_count];
    for tree in trees {
        let own = || {
            tree.nodes().iter().filter_map(|node| match node {
                SourceNode::Leaf(leaf) => leaves.get(*leaf as usize),
                SourceNode::Branch(_) => None,
            })
        };
        let targets = || own().flatten().map(|entry| entry.target as usize);
        targets().for_each(|target| counts[target] += 1);
        let leaf_count = own().count();
        for target in targets() {
            let share = &mut shares[target];
            match counts[target] == leaf_count {
                true => *share = Share::Always,
                false if *share == Share::Never => *share = Share::Sometimes,
                false => {}
            }
        }
        targets().for_each(|target| counts[target] = 0);
    }
    shares
}
