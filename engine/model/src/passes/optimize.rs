//! Owns the order of the passes, and their repetition until nothing changes.
//!
//! Refuses to know what each of them does. Bound: [`ROUND_COUNT_MAX`] rounds per phase.

use super::matcher::{Matcher, Rule};
use super::{batch_norm, fold, gelu, idle, layer_norm, linear};
use crate::error::ModelError;
use crate::graph::Graph;
use crate::program::BuildOptions;

/// Most rounds over the nodes: the longest chain that becomes one operator takes fewer.
pub const ROUND_COUNT_MAX: usize = 8;

/// Ways to compute a node together with those before it, in phases: what a later one begins with,
/// an earlier one has put together. Within a phase earlier ones are tried first.
const PHASES: &[&[Rule]] = &[
    &[layer_norm::whole, batch_norm::after_conv, batch_norm::after_gemm],
    &[
        linear::of_mat_mul,
        linear::of_gemm,
        linear::with_bias,
        linear::with_activation,
        linear::with_silu,
        linear::with_gelu,
    ],
    &[gelu::whole],
];

/// The same model, with constants computed, idle nodes left out and neighbours fused. Constants
/// grow by at most 64 MiB and four times their size before.
///
/// # Errors
/// [`ModelError::Graph`] for a graph that is none.
pub fn optimize(mut graph: Graph, options: &BuildOptions) -> Result<Graph, ModelError> {
    graph.validate()?;
    idle::remove(&mut graph);
    fold::constants(&mut graph, options);
    graph.prune();
    for rules in PHASES {
        for _ in 0..ROUND_COUNT_MAX {
            if !fuse(&mut graph, options, rules) {
                break;
            }
            graph.prune();
        }
    }
    graph.validate()?;
    Ok(graph)
}

/// Tries each rule on each node once, and says whether any node changed.
fn fuse(graph: &mut Graph, options: &BuildOptions, rules: &[Rule]) -> bool {
    let mut changed = false;
    let mut matcher = Matcher::new(graph, options);
    for index in 0..matcher.node_count() {
        if let Some(node) = rules.iter().find_map(|rule| rule(&mut matcher, index)) {
            matcher.replace(index, node);
            changed = true;
        }
    }
    changed
}
