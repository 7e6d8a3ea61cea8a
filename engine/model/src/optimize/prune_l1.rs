//! Owns pruning by size: the smallest weights of all layers together become zero.
//!
//! It is what `torch.nn.utils.prune.global_unstructured` does with `L1Unstructured` (after
//! `prune.remove`): of `n` weights exactly `share * n`, rounded half to even, become zero, those
//! of the smallest absolute value. Of equal ones the first go first; torch leaves that open.
//! Refuses weights that are quantised already, for their sizes are not comparable.
//! Bound: four bytes per weight beside the copy. Files and runs stay as large and as long as
//! before: zeros are stored and multiplied like other weights.

use std::collections::HashMap;

use super::options::refused;
use super::weights::{floats, operator_names, weight_uses};
use crate::error::ModelError;
use crate::graph::{Graph, ValueId};
use crate::tensor::Tensor;

const STEP: &str = "prune_l1";

/// Makes the smallest weights zero. A constant that others read too stays as it is for them.
pub(super) fn prune(graph: &mut Graph, share: f64) -> Result<(), ModelError> {
    let uses = weight_uses(graph);
    if uses.is_empty() {
        let reason = format!(
            "none of its operators has constant weights of a layer (Linear, Gemm, MatMul, Conv): \
             it has {}",
            operator_names(graph)
        );
        return Err(refused(STEP, reason));
    }
    let mut values: Vec<ValueId> = Vec::new();
    for place in &uses {
        if floats(graph, place.value).is_none() {
            let reason = format!(
                "the weights of {} are not f32; prune the version that they were made of",
                graph.place(place.node)
            );
            return Err(refused(STEP, reason));
        }
        if !values.contains(&place.value) {
            values.push(place.value);
        }
    }
    let pruned = pruned(graph, &values, share);
    let mut instead = HashMap::new();
    for (value, weights) in values.iter().zip(pruned) {
        let dims = graph.constant(*value).map(|tensor| tensor.shape().to_vec()).unwrap_or_default();
        let tensor = Tensor::of(&dims, weights).unwrap_or_default();
        let name = graph.value(*value).name.clone();
        instead.insert(*value, graph.add_constant(name, tensor));
    }
    for place in uses {
        graph.nodes[place.node].inputs[place.input] = instead.get(&place.value).copied();
    }
    graph.prune();
    Ok(())
}

/// The size of a weight, in the order of its absolute value; NaN is the largest.
fn size(weight: f32) -> u32 {
    weight.to_bits() & 0x7fff_ffff
}

fn pruned(graph: &Graph, values: &[ValueId], share: f64) -> Vec<Vec<f32>> {
    let weights = || values.iter().filter_map(|value| floats(graph, *value));
    let mut sizes: Vec<u32> = weights().flatten().map(|weight| size(*weight)).collect();
    // As Python rounds.
    let count = (share * sizes.len() as f64).round_ties_even() as usize;
    let mut pruned: Vec<Vec<f32>> = weights().map(<[f32]>::to_vec).collect();
    let Some(last) = count.min(sizes.len()).checked_sub(1) else { return pruned };
    let threshold = *sizes.select_nth_unstable(last).1;
    let below = sizes[..count].iter().filter(|size| **size < threshold).count();
    let mut equal = count - below;
    for weight in pruned.iter_mut().flatten() {
        let size = size(*weight);
        let goes = size < threshold || (size == threshold && equal > 0);
        equal -= usize::from(goes && size == threshold);
        *weight = if goes { 0.0 } else { *weight };
    }
    pruned
}
