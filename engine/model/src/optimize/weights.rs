//! Owns the weights of a graph's layers: which constants they are, and the linear layers that can
//! be computed in other numbers.
//!
//! Refuses embeddings, biases and the parameters of normalisation: they are no layer's weights.
//! Bound: one pass over the nodes.

use std::collections::HashSet;

use crate::graph::{Attribute, Graph, Node, ValueId};
use crate::tensor::{DType, Element, Tensor};

/// The input of `Linear`, `Gemm` and `Conv` that is the weights.
pub(super) const WEIGHT: usize = 1;

/// Where a node reads weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WeightUse {
    pub node: usize,
    pub input: usize,
    pub value: ValueId,
}

/// The weights that layers read, in the order of the nodes: constants of two dimensions or more
/// that a `truststram.Linear`, a `Gemm`, a `MatMul` or a `Conv` multiplies with.
pub(super) fn weight_uses(graph: &Graph) -> Vec<WeightUse> {
    let mut uses = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let places: &[usize] = match (node.domain.as_str(), node.operator.as_str()) {
            (Node::OWN_DOMAIN, "Linear") | ("" | "ai.onnx", "Gemm" | "Conv") => &[WEIGHT],
            ("" | "ai.onnx", "MatMul") => &[0, 1],
            _ => &[],
        };
        for &input in places {
            let Some(value) = node.inputs.get(input).copied().flatten() else { continue };
            if graph.constant(value).is_some_and(|tensor| tensor.shape().len() >= 2) {
                uses.push(WeightUse { node: index, input, value });
            }
        }
    }
    uses
}

/// The share of the layers' weights that are zero; 0 where there are none.
pub(super) fn zero_share(graph: &Graph) -> f64 {
    let mut seen = HashSet::new();
    let (mut zeros, mut count) = (0, 0);
    for place in weight_uses(graph) {
        if let Some(tensor) = graph.constant(place.value).filter(|_| seen.insert(place.value)) {
            zeros += zero_count(tensor);
            count += tensor.count();
        }
    }
    zeros as f64 / count.max(1) as f64
}

fn zero_count(tensor: &Tensor) -> usize {
    fn zeros<T: Element>(values: &[T]) -> usize {
        let zero = T::default();
        values.iter().filter(|value| **value == zero).count()
    }
    crate::with_values!(tensor.data(), values => zeros(values))
}

/// A `truststram.Linear` whose weights are constant.
#[derive(Clone, Debug)]
pub(super) struct LinearLayer {
    pub node: usize,
    pub weight: ValueId,
    pub inputs: usize,
    pub outputs: usize,
    pub is_transposed: bool,
    /// `f32`, `bf16` or `int8`.
    pub precision: String,
}

impl LinearLayer {
    /// Whether its weights are as an importer or a training wrote them.
    pub fn is_plain(&self, graph: &Graph) -> bool {
        let dtype = graph.constant(self.weight).map(|tensor| tensor.dtype());
        self.precision == "f32" && dtype == Some(DType::F32)
    }
}

/// The linear layers, in order.
pub(super) fn linear_layers(graph: &Graph) -> Vec<LinearLayer> {
    let nodes = graph.nodes.iter().enumerate();
    nodes.filter_map(|(index, node)| linear_layer(graph, index, node)).collect()
}

fn linear_layer(graph: &Graph, index: usize, node: &Node) -> Option<LinearLayer> {
    if node.domain != Node::OWN_DOMAIN || node.operator != "Linear" {
        return None;
    }
    let weight = node.inputs.get(WEIGHT).copied().flatten()?;
    let is_transposed = matches!(node.attributes.get("transposed"), Some(Attribute::Int(1)));
    let [rows, columns] = **graph.constant(weight)?.shape() else { return None };
    let (outputs, inputs) = if is_transposed { (columns, rows) } else { (rows, columns) };
    let precision = match node.attributes.get("precision") {
        Some(Attribute::String(precision)) => precision.clone(),
        _ => "f32".to_owned(),
    };
    Some(LinearLayer { node: index, weight, inputs, outputs, is_transposed, precision })
}

/// The operators of a graph, each once, for messages.
pub(super) fn operator_names(graph: &Graph) -> String {
    let mut names: Vec<&str> = graph.nodes.iter().map(|node| node.operator.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// The values of a constant of `f32`.
pub(super) fn floats(graph: &Graph, value: ValueId) -> Option<&[f32]> {
    graph.constant(value)?.values::<f32>()
}
