//! Owns the dense network as a graph: scaled features, linear layers, a softmax.
//!
//! Refuses to know how they are computed. Bound: three nodes more than layers; the weights are
//! moved, not copied.

use super::signature::{Signature, SignaturePort, Task};
use crate::file::ModelFile;
use crate::graph::{Attribute, Dim, Graph, Node, Port, ValueId};
use crate::spec::{Activation, ModelSpec};
use crate::tensor::{DType, Tensor};

/// The opset whose Softmax it uses.
const OPSET: u32 = 21;

/// The graph of a dense network: `truststram.Scale` (x, mean, scale), per layer
/// `truststram.Linear` (x, weight [out, in], bias) with the attribute `activation` where there is
/// one, `Softmax`.
pub fn graph_of_dense(file: ModelFile) -> Graph {
    let (spec, layers) = file.into_parts();
    let mut graph = Graph { opset: OPSET, ..Graph::default() };
    let features = graph.add_value(spec.input.name.clone());
    graph.inputs.push(port(features, spec.feature_count()));
    let preprocessing = spec.preprocessing;
    let mean = constant(&mut graph, "mean", &[preprocessing.mean.len()], preprocessing.mean);
    let scale = constant(&mut graph, "scale", &[preprocessing.scale.len()], preprocessing.scale);
    let mut last = graph.add_value("scaled");
    let inputs = vec![Some(features), Some(mean), Some(scale)];
    graph.nodes.push(Node::own("Scale", inputs, vec![last]));
    let activation = match spec.activation {
        Activation::Relu => "relu",
    };
    let count = layers.len();
    for (index, layer) in layers.into_iter().enumerate() {
        let outputs = layer.bias.len();
        let dims = [outputs, layer.weight.len() / outputs.max(1)];
        let weight = constant(&mut graph, &format!("layers.{index}.weight"), &dims, layer.weight);
        let bias = constant(&mut graph, &format!("layers.{index}.bias"), &[outputs], layer.bias);
        let out = graph.add_value(format!("layers.{index}.out"));
        let node = Node::own("Linear", vec![Some(last), Some(weight), Some(bias)], vec![out]);
        graph.nodes.push(match index + 1 < count {
            true => node.with("activation", Attribute::String(activation.to_owned())),
            false => node,
        });
        last = out;
    }
    let probabilities = graph.add_value(spec.output.name);
    graph.nodes.push(
        Node {
            operator: "Softmax".to_owned(),
            inputs: vec![Some(last)],
            outputs: vec![Some(probabilities)],
            ..Node::default()
        }
        .with("axis", Attribute::Int(-1)),
    );
    graph.outputs.push(port(probabilities, spec.classes.len()));
    graph
}

/// What callers give to a dense network and get of it.
pub(super) fn signature_of_dense(spec: &ModelSpec) -> Signature {
    let port = |name: &str, count: usize| SignaturePort {
        name: name.to_owned(),
        dtype: DType::F32,
        dims: vec![-1, i64::try_from(count).unwrap_or(i64::MAX)],
    };
    let classes = spec.classes.clone();
    Signature {
        inputs: vec![port(&spec.input.name, spec.feature_count())],
        outputs: vec![port(&spec.output.name, spec.class_count())],
        task: Task::Classify { classes, probabilities: 0, label: None },
        batchable: true,
        tokens: None,
    }
}

fn port(value: ValueId, count: usize) -> Port {
    let dims = Some(vec![Dim::Any, Dim::Fixed(count)]);
    Port { value, dtype: DType::F32, dims }
}

/// A constant whose shape `ModelFile` has checked.
fn constant(graph: &mut Graph, name: &str, dims: &[usize], values: Vec<f32>) -> ValueId {
    graph.add_constant(name, Tensor::of(dims, values).unwrap_or_default())
}

#[cfg(test)]
mod tests;
