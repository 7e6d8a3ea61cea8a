//! Owns the reading of trees from lists of nodes, as the first versions of the operators have them.
//!
//! Refuses what is no tree: see [`SourceTree::new`]. Bound: one pass over the lists and a table of
//! the nodes.

use std::collections::HashMap;

use super::settings::{Number, ints, numbers, same_lengths};
use super::worth::{Entry, Worth};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::trees::{Branch, SourceNode, SourceTree, Test};

/// The settings that both operators have.
pub const NODE_SETTINGS: [&str; 11] = [
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_values",
    "nodes_values_as_tensor",
    "nodes_hitrates",
    "nodes_hitrates_as_tensor",
    "nodes_modes",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
];

/// The lists of nodes.
struct Lists<'a, T> {
    trees: &'a [i64],
    ids: &'a [i64],
    features: &'a [i64],
    values: Vec<T>,
    modes: &'a [String],
    yes: &'a [i64],
    no: &'a [i64],
    missing: &'a [i64],
}

/// Reads the trees, and what their leaves are worth from the lists `<kind>_treeids`,
/// `<kind>_nodeids`, `<kind>_ids` and `<kind>_weights`, for targets below `target_count`.
pub fn read<T: Number>(
    view: &NodeView<'_>,
    kind: &str,
    target_count: usize,
) -> Result<(Vec<SourceTree<T>>, Worth<T>), ModelError> {
    let lists = lists::<T>(view)?;
    // By tree and node: where it stands in the lists.
    let mut places = HashMap::with_capacity(lists.ids.len());
    for (index, id) in lists.trees.iter().zip(lists.ids).enumerate() {
        if places.insert((*id.0, *id.1), index).is_some() {
            return Err(view.refuse(format_args!("node {} of tree {} stands twice", id.1, id.0)));
        }
    }
    let mut entries = entries::<T>(view, kind, target_count, &places)?;
    let mut leaves = Vec::new();
    let mut trees = Vec::new();
    let mut start = 0;
    for run in lists.trees.chunk_by(|left, right| left == right) {
        let end = start + run.len();
        let mut nodes = Vec::with_capacity(run.len());
        for (index, own) in (start..end).zip(&mut entries[start..end]) {
            let own = std::mem::take(own);
            nodes.push(match lists.modes[index].as_str() {
                "LEAF" => {
                    leaves.push(own);
                    SourceNode::Leaf(leaves.len() as u32 - 1)
                }
                _ if !own.is_empty() => {
                    return Err(view.refuse("a branch is worth something, and only leaves may be"));
                }
                mode => branch(view, &lists, &places, index, start..end, mode)?,
            });
        }
        trees.push(SourceTree::new(nodes).map_err(|reason| view.refuse(reason))?);
        start = end;
    }
    let worth = Worth::new(&trees, leaves, target_count).map_err(|reason| view.refuse(reason))?;
    Ok((trees, worth))
}

fn lists<'a, T: Number>(view: &NodeView<'a>) -> Result<Lists<'a, T>, ModelError> {
    let lists = Lists {
        trees: ints(view, "nodes_treeids")?,
        ids: ints(view, "nodes_nodeids")?,
        features: ints(view, "nodes_featureids")?,
        values: numbers::<T>(view, "nodes_values")?,
        modes: view.strings("nodes_modes")?.unwrap_or_default(),
        yes: ints(view, "nodes_truenodeids")?,
        no: ints(view, "nodes_falsenodeids")?,
        missing: ints(view, "nodes_missing_value_tracks_true")?,
    };
    let count = lists.trees.len();
    if count == 0 {
        return Err(view.refuse("there are no nodes"));
    }
    let missing = if lists.missing.is_empty() { count } else { lists.missing.len() };
    same_lengths(
        view,
        count,
        &[
            ("nodes_nodeids", lists.ids.len()),
            ("nodes_featureids", lists.features.len()),
            ("nodes_values", lists.values.len()),
            ("nodes_modes", lists.modes.len()),
            ("nodes_truenodeids", lists.yes.len()),
            ("nodes_falsenodeids", lists.no.len()),
            ("nodes_missing_value_tracks_true", missing),
        ],
    )?;
    Ok(lists)
}

/// The branch at `index` of the lists; its tree is the part `own`.
fn branch<T: Number>(
    view: &NodeView<'_>,
    lists: &Lists<'_, T>,
    places: &HashMap<(i64, i64), usize>,
    index: usize,
    own: std::ops::Range<usize>,
    mode: &str,
) -> Result<SourceNode<T>, ModelError> {
    let test = match mode {
        "BRANCH_LEQ" => Test::AtMost,
        "BRANCH_LT" => Test::Less,
        "BRANCH_GTE" => Test::AtLeast,
        "BRANCH_GT" => Test::More,
        "BRANCH_EQ" => Test::Equal,
        "BRANCH_NEQ" => Test::Different,
        other => return Err(view.refuse(format_args!("mode `{other}` of a node is none"))),
    };
    let tree = lists.trees[index];
    let child = |id: i64| {
        let place = places.get(&(tree, id)).filter(|place| own.contains(place));
        let place = place.map(|place| (*place - own.start) as u32);
        place.ok_or_else(|| view.refuse(format_args!("tree {tree} has no node {id} in one place")))
    };
    Ok(SourceNode::Branch(Branch {
        feature: feature(view, lists.features[index])?,
        test,
        threshold: lists.values[index],
        nan_is_yes: lists.missing.get(index).is_some_and(|missing| *missing == 1),
        yes: child(lists.yes[index])?,
        no: child(lists.no[index])?,
    }))
}

/// The number of a feature, if it can be one.
pub fn feature(view: &NodeView<'_>, feature: i64) -> Result<u32, ModelError> {
    /// Most features of a row.
    const FEATURE_MAX: i64 = 1 << 24;
    match feature {
        0..FEATURE_MAX => Ok(feature as u32),
        _ => Err(view.refuse(format_args!("feature {feature} is none"))),
    }
}

/// What each node is worth, by its place in the lists.
fn entries<T: Number>(
    view: &NodeView<'_>,
    kind: &str,
    target_count: usize,
    places: &HashMap<(i64, i64), usize>,
) -> Result<Vec<Vec<Entry<T>>>, ModelError> {
    let trees = ints(view, &format!("{kind}_treeids"))?;
    let ids = ints(view, &format!("{kind}_nodeids"))?;
    let targets = ints(view, &format!("{kind}_ids"))?;
    let weights = numbers::<T>(view, &format!("{kind}_weights"))?;
    same_lengths(
        view,
        trees.len(),
        &[
            (&format!("{kind}_nodeids"), ids.len()),
            (&format!("{kind}_ids"), targets.len()),
            (&format!("{kind}_weights"), weights.len()),
        ],
    )?;
    let mut entries = vec![Vec::new(); places.len()];
    for (index, weight) in weights.into_iter().enumerate() {
        let (tree, id, target) = (trees[index], ids[index], targets[index]);
        let place = places.get(&(tree, id)).ok_or_else(|| {
            view.refuse(format_args!("a weight belongs to node {id} of tree {tree}, which is none"))
        })?;
        let target = usize::try_from(target).ok().filter(|target| *target < target_count);
        let target = target.ok_or_else(|| {
            view.refuse(format_args!("a weight belongs to {} of {target_count}", targets[index]))
        })?;
        entries[*place].push(Entry { target: target as u32, weight });
    }
    Ok(entries)
}
