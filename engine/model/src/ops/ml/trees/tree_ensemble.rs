//! Owns `TreeEnsemble`, the form that version 5 of `ai.onnx.ml` has.
//!
//! Refuses binary16. Bound: as [`Ensemble`].

use super::ensemble::{Ensemble, Pack};
use super::nodes::feature;
use super::regressor::{Finish, target_count};
use super::settings::{ints, same_lengths};
use super::worth::{Entry, Gather, Worth};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::trees::{Branch, NODE_COUNT_MAX, SourceNode, SourceTree, Test};
use crate::ops::ml::rows::{Rows, row_sizes};
use crate::ops::ml::scores::PostTransform;
use crate::ops::registry;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// Its entry in the table.
pub const OPERATOR: registry::Entry = ("ai.onnx.ml", "TreeEnsemble", build);

const SETTINGS: [&str; 16] = [
    "aggregate_function",
    "leaf_targetids",
    "leaf_weights",
    "membership_values",
    "n_targets",
    "nodes_falseleafs",
    "nodes_falsenodeids",
    "nodes_featureids",
    "nodes_hitrates",
    "nodes_missing_value_tracks_true",
    "nodes_modes",
    "nodes_splits",
    "nodes_trueleafs",
    "nodes_truenodeids",
    "post_transform",
    "tree_roots",
];

#[derive(Debug)]
struct TreeEnsemble<T> {
    ensemble: Ensemble<T>,
    finish: Finish<T>,
}

fn build(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&SETTINGS)?;
    match view.dtype_among(0, &[DType::F32, DType::F64])? {
        DType::F64 => ensemble::<f64>(view),
        _ => ensemble::<f32>(view),
    }
}

fn ensemble<T: Pack>(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let how = match view.int_or("aggregate_function", 1)? {
        0 => Gather::Average,
        1 => Gather::Sum,
        2 => Gather::Least,
        3 => Gather::Most,
        other => return Err(view.refuse(format_args!("`aggregate_function` {other} is none"))),
    };
    let post = match view.int_or("post_transform", 0)? {
        0 => PostTransform::None,
        1 => PostTransform::Softmax,
        2 => PostTransform::Logistic,
        3 => PostTransform::SoftmaxZero,
        4 => PostTransform::Probit,
        other => return Err(view.refuse(format_args!("`post_transform` {other} is none"))),
    };
    let lists = Lists::<T>::of(view)?;
    let entries = lists.entries(view, target_count(view)?)?;
    let mut leaves = Vec::new();
    let mut trees = Vec::new();
    let mut node_count = 0;
    for root in ints(view, "tree_roots")? {
        let nodes = lists.tree(view, *root, &entries, &mut leaves)?;
        node_count += nodes.len();
        // Trees may share branches, so the lists do not bound them.
        if node_count > NODE_COUNT_MAX.min(4 * (lists.splits.len() + entries.len())) {
            return Err(view.refuse("the trees have more nodes than the lists"));
        }
        trees.push(SourceTree::new(nodes).map_err(|reason| view.refuse(reason))?);
    }
    if trees.is_empty() {
        return Err(view.refuse("there are no trees"));
    }
    let worth = Worth::new(&trees, leaves, target_count(view)?);
    let worth = worth.map_err(|reason| view.refuse(reason))?;
    let finish = Finish::new(view, &worth, how, Vec::new(), post)?;
    let ensemble = Ensemble::new(trees, lists.members, worth);
    Ok(Built::one(TreeEnsemble { ensemble, finish }, T::DTYPE))
}

/// The lists of branches and leaves.
struct Lists<'a, T> {
    features: &'a [i64],
    splits: &'a [T],
    tests: Vec<Test>,
    members: Vec<T>,
    yes: &'a [i64],
    no: &'a [i64],
    yes_leaf: &'a [i64],
    no_leaf: &'a [i64],
    missing: &'a [i64],
    targets: &'a [i64],
    weights: &'a [T],
}

impl<'a, T: Pack> Lists<'a, T> {
    fn of(view: &NodeView<'a>) -> Result<Self, ModelError> {
        let wrong = |name| view.refuse(format_args!("`{name}` is no tensor of its type"));
        let values = |name: &'static str| match view.tensor(name)? {
            Some(tensor) => tensor.values::<T>().map(Some).ok_or_else(|| wrong(name)),
            None => Ok(None),
        };
        let modes = view.tensor("nodes_modes")?.and_then(|tensor| tensor.values::<u8>());
        let modes = modes.ok_or_else(|| wrong("nodes_modes"))?;
        let (tests, members) = tests(view, modes, values("membership_values")?.unwrap_or(&[]))?;
        let lists = Self {
            features: ints(view, "nodes_featureids")?,
            splits: values("nodes_splits")?.ok_or_else(|| wrong("nodes_splits"))?,
            tests,
            members,
            yes: ints(view, "nodes_truenodeids")?,
            no: ints(view, "nodes_falsenodeids")?,
            yes_leaf: ints(view, "nodes_trueleafs")?,
            no_leaf: ints(view, "nodes_falseleafs")?,
            missing: ints(view, "nodes_missing_value_tracks_true")?,
            targets: ints(view, "leaf_targetids")?,
            weights: values("leaf_weights")?.ok_or_else(|| wrong("leaf_weights"))?,
        };
        let count = lists.features.len();
        let missing = if lists.missing.is_empty() { count } else { lists.missing.len() };
        same_lengths(
            view,
            count,
            &[
                ("nodes_splits", lists.splits.len()),
                ("nodes_modes", lists.tests.len()),
                ("nodes_truenodeids", lists.yes.len()),
                ("nodes_falsenodeids", lists.no.len()),
                ("nodes_trueleafs", lists.yes_leaf.len()),
                ("nodes_falseleafs", lists.no_leaf.len()),
                ("nodes_missing_value_tracks_true", missing),
            ],
        )?;
        same_lengths(view, lists.targets.len(), &[("leaf_weights", lists.weights.len())])?;
        Ok(lists)
    }

    /// What each leaf of the lists is worth.
    fn entries(
        &self,
        view: &NodeView<'_>,
        target_count: usize,
    ) -> Result<Vec<Entry<T>>, ModelError> {
        let entry = |(target, weight): (&i64, &T)| {
            let found = usize::try_from(*target).ok().filter(|target| *target < target_count);
            let reason = format_args!("a weight belongs to target {target} of {target_count}");
            let target = found.ok_or_else(|| view.refuse(reason))? as u32;
            Ok(Entry { target, weight: *weight })
        };
        self.targets.iter().zip(self.weights).map(entry).collect()
    }

    /// The nodes of the tree that begins at a branch.
    fn tree(
        &self,
        view: &NodeView<'_>,
        root: i64,
        entries: &[Entry<T>],
        leaves: &mut Vec<Vec<Entry<T>>>,
    ) -> Result<Vec<SourceNode<T>>, ModelError> {
        // In the order of the nodes: where each stands in the lists, and whether it is a leaf.
        let mut places = vec![(root, false)];
        let mut nodes = Vec::new();
        while let Some((place, is_leaf)) = places.get(nodes.len()).copied() {
            let count = if is_leaf { entries.len() } else { self.features.len() };
            let index = usize::try_from(place).ok().filter(|index| *index < count);
            let none = || view.refuse(format_args!("a tree leads to {place} of {count}"));
            let index = index.ok_or_else(none)?;
            if is_leaf {
                leaves.push(vec![entries[index]]);
                nodes.push(SourceNode::Leaf(leaves.len() as u32 - 1));
                continue;
            }
            // A tree has no branch twice, so more of them go round in a circle.
            if places.len() > 2 * self.features.len() + 1 {
                return Err(view.refuse("a tree reaches a branch in two ways"));
            }
            nodes.push(SourceNode::Branch(Branch {
                feature: feature(view, self.features[index])?,
                test: self.tests[index],
                threshold: self.splits[index],
                nan_is_yes: self.missing.get(index).is_some_and(|missing| *missing == 1),
                yes: places.len() as u32,
                no: places.len() as u32 + 1,
            }));
            places.push((self.yes[index], self.yes_leaf[index] != 0));
            places.push((self.no[index], self.no_leaf[index] != 0));
        }
        Ok(nodes)
    }
}

/// The tests of the branches, and the members of all sets: those of a branch end with one that is
/// not a number.
fn tests<T: Pack>(
    view: &NodeView<'_>,
    modes: &[u8],
    sets: &[T],
) -> Result<(Vec<Test>, Vec<T>), ModelError> {
    let mut next = 0;
    let mut tests = Vec::with_capacity(modes.len());
    for mode in modes {
        tests.push(match mode {
            0 => Test::AtMost,
            1 => Test::Less,
            2 => Test::AtLeast,
            3 => Test::More,
            4 => Test::Equal,
            5 => Test::Different,
            6 => {
                let own = sets.get(next..).unwrap_or_default();
                let end = own.iter().position(|member| member.is_nan());
                let count = end.ok_or_else(|| view.refuse("a branch has no set of its own"))?;
                let start = next as u32;
                next += count + 1;
                Test::Member { start, count: count as u32 }
            }
            other => return Err(view.refuse(format_args!("mode {other} of a node is none"))),
        });
    }
    match next == sets.len() {
        true => Ok((tests, sets.to_vec())),
        false => Err(view.refuse("there are more sets than branches that ask for them")),
    }
}

impl<T: Pack> Operator for TreeEnsemble<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let (count, width) = row_sizes(shape)?;
        let sums = context.shape_as::<T>(&mut outputs[0], &[count, self.finish.targets()])?;
        self.finish.run(&self.ensemble, Rows { values, count, width }, sums, context)
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(self.ensemble.bytes());
    }
}
