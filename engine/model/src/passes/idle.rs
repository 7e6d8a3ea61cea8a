//! Owns the removal of nodes that hand on what they get: `Identity`, and `Dropout` outside of
//! training.
//!
//! Refuses to change what inputs and outputs of the graph are called. Bound: two passes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::matcher::{output, single};
use crate::graph::{Graph, Node, ValueId};

/// Leaves out the idle nodes of a valid graph.
pub(super) fn remove(graph: &mut Graph) {
    let outputs: HashSet<ValueId> = graph.outputs.iter().map(|port| port.value).collect();
    let mut made = HashSet::new();
    // What to read instead of what an idle node would have made, or of what made an output.
    let mut instead: HashMap<ValueId, ValueId> = HashMap::new();
    let mut kept = Vec::with_capacity(graph.nodes.len());
    for mut node in std::mem::take(&mut graph.nodes) {
        for id in node.inputs.iter_mut().flatten() {
            *id = instead.get(id).copied().unwrap_or(*id);
        }
        if let Some((from, to)) = idle(graph, &node) {
            if !outputs.contains(&to) {
                instead.insert(to, from);
                continue;
            }
            if let Some(tensor) = graph.constant(from) {
                graph.values[to.0 as usize].constant = Some(Arc::clone(tensor));
                continue;
            }
            // The output keeps its name; what was made under another one gets it.
            if made.contains(&from) && !outputs.contains(&from) {
                instead.insert(from, to);
                for earlier in instead.values_mut().filter(|value| **value == from) {
                    *earlier = to;
                }
                made.insert(to);
                continue;
            }
        }
        made.extend(node.outputs.iter().flatten().copied());
        kept.push(node);
    }
    for node in &mut kept {
        for id in node.inputs.iter_mut().chain(&mut node.outputs).flatten() {
            *id = instead.get(id).copied().unwrap_or(*id);
        }
    }
    graph.nodes = kept;
}

/// What an idle node reads and what it makes.
fn idle(graph: &Graph, node: &Node) -> Option<(ValueId, ValueId)> {
    let to = output(node)?;
    if !node.domain.is_empty() {
        return None;
    }
    match node.operator.as_str() {
        "Identity" if node.attributes.is_empty() => Some((single(node)?, to)),
        "Dropout" => {
            let known = |name: &String| name == "ratio" || name == "seed";
            let trains = match node.inputs.get(2).copied().flatten() {
                None => false,
                Some(id) => graph.constant(id)?.values::<bool>()? != [false],
            };
            let is_known = node.attributes.keys().all(known) && node.inputs.len() <= 3;
            if trains || !is_known {
                return None;
            }
            Some((node.inputs.first().copied().flatten()?, to))
        }
        _ => None,
    }
}
