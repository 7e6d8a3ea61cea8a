//! Owns the step to bf16: the weights of linear layers rounded, half to even, and stored so.
//!
//! Refuses layers that are quantised already. Bound: each weight is copied once, into half of its
//! size.

use std::collections::HashMap;

use half::bf16;

use super::options::refused;
use super::weights::{WEIGHT, floats, linear_layers};
use crate::error::ModelError;
use crate::graph::{Attribute, Graph};
use crate::tensor::Tensor;

const STEP: &str = "bf16";

/// Gives every linear layer in f32 the precision bf16.
pub(super) fn round(graph: &mut Graph) -> Result<(), ModelError> {
    let mut rounded = HashMap::new();
    let mut layers = linear_layers(graph);
    layers.retain(|layer| layer.is_plain(graph));
    for layer in layers {
        let value = match rounded.get(&layer.weight) {
            Some(value) => *value,
            None => {
                let weights = floats(graph, layer.weight).unwrap_or_default();
                let halves: Vec<bf16> = weights.iter().map(|w| bf16::from_f32(*w)).collect();
                if !halves.iter().all(|half| half.is_finite()) {
                    let place = graph.place(layer.node);
                    let reason = format!("{place} has a weight that is not finite in bf16");
                    return Err(refused(STEP, reason));
                }
                let dims = graph.constant(layer.weight).map(|tensor| tensor.shape().to_vec());
                let tensor = Tensor::of(&dims.unwrap_or_default(), halves).unwrap_or_default();
                let name = graph.value(layer.weight).name.clone();
                let value = graph.add_constant(name, tensor);
                rounded.insert(layer.weight, value);
                value
            }
        };
        let node = &mut graph.nodes[layer.node];
        node.inputs[WEIGHT] = Some(value);
        node.attributes.insert("precision".to_owned(), Attribute::String("bf16".to_owned()));
    }
    if rounded.is_empty() {
        return Err(refused(STEP, "no linear layer in f32 is left to be rounded"));
    }
    graph.prune();
    Ok(())
}
