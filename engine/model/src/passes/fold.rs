//! Owns the computing of what does not depend on the inputs.
//!
//! Refuses to compute what could not be built or stops: it stays, and the build or a run says so.
//! Bound: what is computed takes at most [`BYTES_MAX`] and four times what is constant already.

use std::sync::Arc;

use super::matcher::alone;
use crate::graph::{Attribute, Dim, Graph, Node, ValueId};
use crate::program::{BuildOptions, evaluate};
use crate::tensor::Tensor;

/// Most bytes that are computed whatever the size of the model: 64 MiB.
const BYTES_MAX: usize = 64 << 20;

/// Makes constant what can be; the nodes that made it are gone.
pub(super) fn constants(graph: &mut Graph, options: &BuildOptions) {
    let constants = graph.values.iter().filter_map(|value| value.constant.as_ref());
    let bytes: usize = constants.map(|tensor| tensor.bytes()).sum();
    let mut budget = bytes.saturating_mul(4).saturating_add(BYTES_MAX);
    for node in std::mem::take(&mut graph.nodes) {
        let results = match shape_of_input(graph, &node) {
            Some(shape) => Some(vec![shape]),
            None => results(graph, &node, options, budget),
        };
        let Some(results) = results else {
            graph.nodes.push(node);
            continue;
        };
        for (id, tensor) in node.outputs.iter().flatten().zip(results) {
            budget = budget.saturating_sub(tensor.bytes());
            graph.values[id.0 as usize].constant = Some(Arc::new(tensor));
        }
    }
}

/// What a node of constants makes, for each output that somebody reads.
fn results(
    graph: &Graph,
    node: &Node,
    options: &BuildOptions,
    budget: usize,
) -> Option<Vec<Tensor>> {
    if !node.inputs.iter().flatten().all(|id| graph.constant(*id).is_some()) {
        return None;
    }
    let session_bytes_max = options.session_bytes_max.min(budget);
    let options = BuildOptions { session_bytes_max, ..options.clone() };
    let results = evaluate(&alone(graph, node), &options, Vec::new()).ok()?;
    let bytes: usize = results.iter().map(Tensor::bytes).sum();
    let wanted = node.outputs.iter().flatten().count();
    (bytes <= budget && results.len() == wanted).then_some(results)
}

/// The result of `Shape` for an input whose dimensions are all fixed; a session takes no other.
fn shape_of_input(graph: &Graph, node: &Node) -> Option<Tensor> {
    if !node.domain.is_empty() || node.operator != "Shape" || node.outputs.len() != 1 {
        return None;
    }
    let [Some(id)] = node.inputs.as_slice() else { return None };
    let dims = fixed_dims(graph, *id)?;
    let rank = dims.len() as i64;
    let bound = |name: &str, default: i64| match node.attributes.get(name) {
        None => Some(default),
        Some(Attribute::Int(at)) if *at < 0 => Some(at.saturating_add(rank).clamp(0, rank)),
        Some(Attribute::Int(at)) => Some((*at).min(rank)),
        Some(_) => None,
    };
    let known = |name: &String| name == "start" || name == "end";
    let (start, end) = (bound("start", 0)?, bound("end", rank)?);
    if !node.attributes.keys().all(known) || (graph.opset < 15 && !node.attributes.is_empty()) {
        return None;
    }
    let part = dims.get(start as usize..end.max(start) as usize)?.to_vec();
    Tensor::of(&[part.len()], part)
}

fn fixed_dims(graph: &Graph, id: ValueId) -> Option<Vec<i64>> {
    let port = graph.inputs.iter().find(|port| port.value == id)?;
    let fixed = |dim: &Dim| match dim {
        Dim::Fixed(count) => i64::try_from(*count).ok(),
        Dim::Named(_) | Dim::Any => None,
    };
    port.dims.as_ref()?.iter().map(fixed).collect()
}
