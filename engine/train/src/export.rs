//! Owns the way from a trained network to a model that can be served.
//!
//! Refuses to know files. Bound: the weights once more; the graph has a node per layer.

use truststram_model::artifact::{Artifact, Signature, Task};
use truststram_model::graph::{Attribute, Dim, Graph, Node, Port, ValueId};
use truststram_model::tensor::{DType, Tensor};
use truststram_model::{LayerWeights, ModelError, ModelFile, ModelSpec, Preprocessing};

use crate::data::Dataset;
use crate::error::TrainError;
use crate::loss::Loss;
use crate::net::{Layer, LayerActivation, Net};
use crate::step::Stepper;

/// The opset of the operators that it uses.
const OPSET: u32 = 21;

/// A trained model.
#[derive(Clone, Debug)]
pub enum Exported {
    /// A dense classifier, whose description says so.
    Dense(Box<ModelFile>),
    /// Any other.
    Graph(Box<Artifact>),
}

impl Exported {
    /// The bytes of its file.
    ///
    /// # Errors
    /// [`ModelError`] when the container cannot hold it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        match self {
            Self::Dense(file) => file.to_bytes(),
            Self::Graph(artifact) => artifact.to_bytes(),
        }
    }

    /// The model as it is loaded.
    pub fn artifact(&self) -> Artifact {
        match self {
            Self::Dense(file) => Artifact::of_dense((**file).clone()),
            Self::Graph(artifact) => (**artifact).clone(),
        }
    }
}

/// The model of a network, with the preprocessing of its features.
pub(crate) fn export(
    stepper: &Stepper,
    loss: Loss,
    data: &Dataset,
    preprocessing: Preprocessing,
) -> Result<Exported, TrainError> {
    let net = stepper.net();
    let mut layers = layers(net, stepper.weights());
    if loss == Loss::BinaryCrossEntropy
        && let Some(last) = layers.last_mut()
    {
        // A softmax over zero and a number has the probabilities that its sigmoid has.
        last.weight.splice(0..0, vec![0.0; last.weight.len()]);
        last.bias.insert(0, 0.0);
    }
    if is_dense(net) && loss.is_of_classes() {
        let mut sizes = vec![size(net.inputs)];
        sizes.extend(layers.iter().map(|layer| size(layer.bias.len())));
        let spec = ModelSpec::dense(sizes, data.classes.clone(), preprocessing)?;
        return Ok(Exported::Dense(Box::new(ModelFile::new(spec, layers)?)));
    }
    let (name, task) = match loss.is_of_classes() {
        true => {
            let classes = data.classes.clone();
            ("probabilities", Task::Classify { classes, probabilities: 0, label: None })
        }
        false => ("numbers", Task::Regress),
    };
    let graph = graph(stepper, layers, preprocessing, name, loss.is_of_classes())?;
    let encoder = net.layers.first().and_then(Layer::encoder);
    let mut signature = Signature::of_graph(&graph, task, encoder.is_none())?;
    if let Some(encoder) = encoder {
        signature.batchable = true;
        signature.tokens = Some(encoder.tokens());
    }
    let artifact = Artifact { graph, signature, tokenizer: None, dense: None, samples: Vec::new() };
    artifact.validate()?;
    Ok(Exported::Graph(Box::new(artifact)))
}

fn size(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn int(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Whether all layers are fully connected, with ReLU between them.
fn is_dense(net: &Net) -> bool {
    let last = net.layers.len().saturating_sub(1);
    net.layers.iter().enumerate().all(|(index, layer)| match layer {
        Layer::Dense { activation, .. } => *activation == LayerActivation::Relu || index == last,
        Layer::Dropout { .. } => true,
        Layer::Encoder(_) | Layer::Conv { .. } | Layer::MaxPool { .. } => false,
    })
}

/// The weights of each layer that has any, as graphs have them: of convolutions with the channels
/// before first.
fn layers(net: &Net, weights: &[f32]) -> Vec<LayerWeights> {
    let mut weights = weights.to_vec();
    turn_kernels(net, &mut weights, true);
    let place = |layer: &Layer| match layer {
        Layer::Dense { place, .. } | Layer::Conv { place, .. } => {
            let (weight, bias) = place.of(&weights);
            Some(LayerWeights { weight: weight.to_vec(), bias: bias.to_vec() })
        }
        Layer::Encoder(_) | Layer::MaxPool { .. } | Layer::Dropout { .. } => None,
    };
    net.layers.iter().filter_map(place).collect()
}

/// Puts the channels before those of a convolution first among its weights, as graphs have them,
/// or last again, as training has them.
pub(crate) fn turn_kernels(net: &Net, weights: &mut [f32], is_first: bool) {
    for layer in &net.layers {
        let Layer::Conv { place, image, side, .. } = layer else { continue };
        let (pixels, channels) = (side * side, image[2]);
        for kernel in weights[place.weight.clone()].chunks_exact_mut(pixels * channels) {
            let from = kernel.to_vec();
            for first in 0..from.len() {
                let last = first % pixels * channels + first / pixels;
                match is_first {
                    true => kernel[first] = from[last],
                    false => kernel[last] = from[first],
                }
            }
        }
    }
}

/// A graph that grows, and its last value.
pub(crate) struct Builder {
    pub(crate) graph: Graph,
    pub(crate) last: ValueId,
}

impl Builder {
    pub(crate) fn constant(
        &mut self,
        name: &str,
        dims: &[usize],
        values: Vec<f32>,
    ) -> Result<ValueId, TrainError> {
        let expected = "weights of the sizes of its layers";
        let tensor =
            Tensor::of(dims, values).ok_or(TrainError::Option { option: "net", expected })?;
        Ok(self.graph.add_constant(name, tensor))
    }

    /// A node that takes the last value first.
    pub(crate) fn node(
        &mut self,
        name: &str,
        domain: &str,
        operator: &str,
        more: &[ValueId],
    ) -> &mut Node {
        let out = self.graph.add_value(name);
        let inputs = [self.last].iter().chain(more).copied().map(Some).collect();
        self.graph.nodes.push(Node {
            name: name.to_owned(),
            domain: domain.to_owned(),
            operator: operator.to_owned(),
            inputs,
            outputs: vec![Some(out)],
            ..Node::default()
        });
        self.last = out;
        let index = self.graph.nodes.len() - 1;
        &mut self.graph.nodes[index]
    }

    fn set(node: &mut Node, name: &str, values: &[usize]) {
        let values = values.iter().map(|value| int(*value)).collect();
        node.attributes.insert(name.to_owned(), Attribute::Ints(values));
    }

    fn reshape(&mut self, name: &str, dims: &[usize]) {
        let mut shape = vec![-1_i64];
        shape.extend(dims.iter().map(|dim| int(*dim)));
        let shape = Tensor::of(&[shape.len()], shape).unwrap_or_default();
        let shape = self.graph.add_constant(format!("{name}.shape"), shape);
        self.node(name, "", "Reshape", &[shape]);
    }

    /// Puts the channels first, or last again.
    fn turn(&mut self, name: &str, is_first: bool) {
        let order = if is_first { [0, 3, 1, 2] } else { [0, 2, 3, 1] };
        Self::set(self.node(name, "", "Transpose", &[]), "perm", &order);
    }

    fn layer(
        &mut self,
        index: usize,
        layer: &Layer,
        weights: Option<LayerWeights>,
    ) -> Result<(), TrainError> {
        let name = format!("layers.{index}");
        let weights = weights.unwrap_or(LayerWeights { weight: Vec::new(), bias: Vec::new() });
        let outputs = weights.bias.len();
        let bias = |builder: &mut Self, values: Vec<f32>| {
            builder.constant(&format!("{name}.bias"), &[outputs], values)
        };
        let activation = match layer {
            Layer::Dense { inputs, activation, .. } => {
                let dims = [outputs, *inputs];
                let weight = self.constant(&format!("{name}.weight"), &dims, weights.weight)?;
                let bias = bias(self, weights.bias)?;
                let out = format!("{name}.out");
                self.node(&out, Node::OWN_DOMAIN, "Linear", &[weight, bias]);
                *activation
            }
            Layer::Conv { image, channels, side, padding, activation, .. } => {
                let dims = [*channels, image[2], *side, *side];
                let weight = self.constant(&format!("{name}.weight"), &dims, weights.weight)?;
                let bias = bias(self, weights.bias)?;
                let node = self.node(&format!("{name}.out"), "", "Conv", &[weight, bias]);
                Self::set(node, "kernel_shape", &[*side; 2]);
                Self::set(node, "pads", &[*padding; 4]);
                *activation
            }
            Layer::MaxPool { size, .. } => {
                let node = self.node(&format!("{name}.out"), "", "MaxPool", &[]);
                Self::set(node, "kernel_shape", &[*size; 2]);
                Self::set(node, "strides", &[*size; 2]);
                LayerActivation::None
            }
            Layer::Encoder(_) | Layer::Dropout { .. } => LayerActivation::None,
        };
        match activation {
            LayerActivation::None => {}
            LayerActivation::Relu => drop(self.node(&format!("{name}.relu"), "", "Relu", &[])),
            LayerActivation::Tanh => drop(self.node(&format!("{name}.tanh"), "", "Tanh", &[])),
        }
        Ok(())
    }
}

/// The graph of a network: `Scale`, the layers, and of a classifier a softmax. Images have their
/// channels last, as rows have; the operators want them first.
fn graph(
    stepper: &Stepper,
    layers: Vec<LayerWeights>,
    preprocessing: Preprocessing,
    output: &str,
    is_classifier: bool,
) -> Result<Graph, TrainError> {
    let net = stepper.net();
    let outputs = layers.last().map_or(net.outputs, |last| last.bias.len());
    let mut builder =
        Builder { graph: Graph { opset: OPSET, ..Graph::default() }, last: ValueId(0) };
    let port = |value, count| Port {
        value,
        dtype: DType::F32,
        dims: Some(vec![Dim::Any, Dim::Fixed(count)]),
    };
    if let Some(encoder) = net.layers.first().and_then(Layer::encoder) {
        encoder.export(stepper.weights(), &mut builder)?;
    } else {
        builder.last = builder.graph.add_value("features");
        builder.graph.inputs.push(port(builder.last, net.inputs));
        let mean = builder.constant("mean", &[net.inputs], preprocessing.mean)?;
        let scale = builder.constant("scale", &[net.inputs], preprocessing.scale)?;
        builder.node("scaled", Node::OWN_DOMAIN, "Scale", &[mean, scale]);
    }
    let mut is_image = false;
    if let Some(image) = net.image {
        builder.reshape("pixels", &image);
        builder.turn("image", true);
        is_image = true;
    }
    let mut layers = layers.into_iter();
    for (index, layer) in net.layers.iter().enumerate() {
        let weights = match layer {
            Layer::Dense { inputs, .. } => {
                if std::mem::take(&mut is_image) {
                    builder.turn("pixels.out", false);
                    builder.reshape("flat", &[*inputs]);
                }
                layers.next()
            }
            Layer::Conv { .. } => layers.next(),
            Layer::Encoder(_) | Layer::MaxPool { .. } | Layer::Dropout { .. } => None,
        };
        builder.layer(index, layer, weights)?;
    }
    match is_classifier {
        true => {
            let node = builder.node(output, "", "Softmax", &[]);
            node.attributes.insert("axis".to_owned(), Attribute::Int(-1));
        }
        false => drop(builder.node(output, "", "Identity", &[])),
    }
    let Builder { mut graph, last } = builder;
    graph.outputs.push(port(last, outputs));
    Ok(graph)
}
