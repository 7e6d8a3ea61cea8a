//! Owns a classifier that is trained on where it is: its network, and its weights in the order and
//! in the shapes of its file.
//!
//! Refuses other models than dense and convolutional networks as training makes them. Bound: the
//! weights once more.

use std::sync::Arc;

use truststram_model::artifact::{Artifact, Task};
use truststram_model::graph::{Attribute, Graph, Node, ValueId};
use truststram_model::tensor::Tensor;
use truststram_model::{LayerWeights, ModelFile, Preprocessing};

use crate::data::Dataset;
use crate::error::TrainError;
use crate::evaluate::evaluate;
use crate::export::{Exported, export};
use crate::loss::Loss;
use crate::net::{LayerActivation, LayerSpec, Net, NetSpec};
use crate::standard::standardise;
use crate::step::{StepOptions, Stepper};

/// One tensor of weights, as the file of the model has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightTensor {
    /// Its name there.
    pub name: String,
    /// Values along each dimension; of a convolution `[channels, channels before, side, side]`.
    pub shape: Vec<usize>,
}

/// Where the weights are.
#[derive(Clone, Debug)]
enum Frame {
    Dense(Box<ModelFile>),
    Graph(Box<Artifact>, Vec<ValueId>),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Trainable {
    frame: Frame,
    tensors: Vec<WeightTensor>,
    pub(crate) net: NetSpec,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) classes: Vec<String>,
}

fn refused<T>() -> Result<T, TrainError> {
    let expected = "a classifier of features with dense or convolutional layers, trained here";
    Err(TrainError::Option { option: "model", expected })
}

impl Trainable {
    /// Reads the file of a model.
    ///
    /// # Errors
    /// [`TrainError`] says what is wrong with it, or that it is another model.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrainError> {
        match ModelFile::parse(bytes) {
            Ok(file) => Ok(Self::of_dense(file)),
            Err(_) => Self::of_graph(Artifact::parse(bytes)?),
        }
    }

    /// One that has learnt nothing: random weights of this seed, and the preprocessing that the
    /// rows ask for.
    ///
    /// # Errors
    /// [`TrainError`] says what is wrong with the network or the rows.
    pub fn untrained(rows: &Dataset, net: &NetSpec, seed: u64) -> Result<Self, TrainError> {
        rows.check(Loss::CrossEntropy)?;
        let sizes = (rows.feature_count, rows.classes.len());
        let options = StepOptions { seed, ..StepOptions::default() };
        let stepper = Stepper::new(net, sizes, options, &[])?;
        match export(&stepper, Loss::CrossEntropy, rows, standardise(rows)?)? {
            Exported::Dense(file) => Ok(Self::of_dense(*file)),
            Exported::Graph(artifact) => Self::of_graph(*artifact),
        }
    }

    fn of_dense(file: ModelFile) -> Self {
        let spec = file.spec();
        let shapes: Vec<(usize, usize)> = spec.layer_shapes().collect();
        let tensors = shapes.iter().enumerate().flat_map(|(layer, (inputs, outputs))| {
            let tensor =
                |part: &str, shape| WeightTensor { name: format!("layers.{layer}.{part}"), shape };
            [tensor("weight", vec![*outputs, *inputs]), tensor("bias", vec![*outputs])]
        });
        let hidden: Vec<usize> = shapes.iter().map(|(_, outputs)| *outputs).collect();
        Self {
            tensors: tensors.collect(),
            net: NetSpec::dense(&hidden[..hidden.len().saturating_sub(1)]),
            preprocessing: spec.preprocessing.clone(),
            classes: spec.classes.clone(),
            frame: Frame::Dense(Box::new(file)),
        }
    }

    fn of_graph(artifact: Artifact) -> Result<Self, TrainError> {
        let Task::Classify { classes, probabilities: 0, label: None } = &artifact.signature.task
        else {
            return refused();
        };
        let classes = classes.clone();
        let mut reader = Reader { graph: &artifact.graph, nodes: artifact.graph.nodes.iter() };
        let read = reader.network()?;
        let tensor = |id: &ValueId| {
            let value = artifact.graph.value(*id);
            let shape = value.constant.as_ref().map_or(Vec::new(), |it| it.shape().to_vec());
            // So does the file name its constants.
            WeightTensor { name: format!("value.{}.{}", id.0, value.name), shape }
        };
        let tensors = read.weights.iter().map(tensor).collect();
        let Read { net, preprocessing, weights } = read;
        let frame = Frame::Graph(Box::new(artifact), weights);
        let found = Self { frame, tensors, net, preprocessing, classes };
        let sizes = Net::new(&found.net, found.feature_count(), found.classes.len())?;
        match sizes.weight_count() == found.weights().len() {
            true => Ok(found),
            false => refused(),
        }
    }

    /// How many features a row has.
    pub fn feature_count(&self) -> usize {
        self.preprocessing.mean.len()
    }

    /// The tensors of its weights, in their order.
    pub fn tensors(&self) -> &[WeightTensor] {
        &self.tensors
    }

    /// All weights, one tensor after the other.
    pub fn weights(&self) -> Vec<f32> {
        match &self.frame {
            Frame::Dense(file) => {
                let layers = file.layers().iter();
                layers.flat_map(|layer| layer.weight.iter().chain(&layer.bias)).copied().collect()
            }
            Frame::Graph(artifact, ids) => {
                let values = |id: &ValueId| artifact.graph.constant(*id)?.values::<f32>();
                ids.iter().filter_map(values).flatten().copied().collect()
            }
        }
    }

    /// The model with these weights in the place of its own.
    ///
    /// # Errors
    /// [`TrainError::Option`] if they are not as many.
    pub fn with(&self, weights: &[f32]) -> Result<Exported, TrainError> {
        let expected = "as many as the model has";
        let wrong = || TrainError::Option { option: "weights", expected };
        let count = |tensor: &WeightTensor| tensor.shape.iter().product::<usize>();
        if self.tensors.iter().map(count).sum::<usize>() != weights.len() {
            return Err(wrong());
        }
        let mut rest = weights;
        let mut parts = self.tensors.iter().map(|tensor| {
            let (taken, left) = rest.split_at(count(tensor));
            rest = left;
            (tensor, taken.to_vec())
        });
        match &self.frame {
            Frame::Dense(file) => {
                let mut layers = Vec::with_capacity(file.layers().len());
                while let (Some((_, weight)), Some((_, bias))) = (parts.next(), parts.next()) {
                    layers.push(LayerWeights { weight, bias });
                }
                let file = ModelFile::new(file.spec().clone(), layers)?;
                Ok(Exported::Dense(Box::new(file)))
            }
            Frame::Graph(artifact, ids) => {
                let mut artifact = artifact.clone();
                for (id, (tensor, values)) in ids.iter().zip(parts) {
                    let constant = Tensor::of(&tensor.shape, values).ok_or_else(wrong)?;
                    artifact.graph.values[id.0 as usize].constant = Some(Arc::new(constant));
                }
                Ok(Exported::Graph(artifact))
            }
        }
    }

    /// The share of rows that it gets right with these weights.
    ///
    /// # Errors
    /// As [`Trainable::with`], and if it cannot be asked.
    pub fn accuracy(&self, weights: &[f32], rows: &Dataset) -> Result<f64, TrainError> {
        let evaluation = evaluate(&self.with(weights)?, rows, &[])?;
        Ok(evaluation.accuracy.unwrap_or_default())
    }
}

/// What a graph is.
struct Read {
    net: NetSpec,
    preprocessing: Preprocessing,
    /// The constants that are weights, layer after layer.
    weights: Vec<ValueId>,
}

/// The nodes of a graph in their order, as [`export`] writes them.
struct Reader<'a> {
    graph: &'a Graph,
    nodes: std::slice::Iter<'a, Node>,
}

impl<'a> Reader<'a> {
    fn next(&mut self, operator: &str) -> Result<&'a Node, TrainError> {
        self.next_if(operator).map_or_else(refused, Ok)
    }

    fn next_if(&mut self, operator: &str) -> Option<&'a Node> {
        let node = self.nodes.as_slice().first().filter(|node| node.operator == operator)?;
        self.nodes.next();
        Some(node)
    }

    fn activation(&mut self) -> LayerActivation {
        if self.next_if("Relu").is_some() {
            LayerActivation::Relu
        } else if self.next_if("Tanh").is_some() {
            LayerActivation::Tanh
        } else {
            LayerActivation::None
        }
    }

    /// A constant input's place and tensor.
    fn constant(&self, node: &Node, index: usize) -> Result<(ValueId, &'a Tensor), TrainError> {
        let id = node.inputs.get(index).copied().flatten();
        let found = id.and_then(|id| Some((id, self.graph.constant(id)?.as_ref())));
        found.map_or_else(refused, Ok)
    }

    fn numbers(&self, node: &Node, index: usize) -> Result<Vec<f32>, TrainError> {
        let values = self.constant(node, index)?.1.values::<f32>();
        values.map_or_else(refused, |values| Ok(values.to_vec()))
    }

    fn network(&mut self) -> Result<Read, TrainError> {
        let scale = self.next("Scale")?;
        let preprocessing =
            Preprocessing { mean: self.numbers(scale, 1)?, scale: self.numbers(scale, 2)? };
        let mut net = NetSpec::default();
        if let Some(node) = self.next_if("Reshape") {
            let dims = self.constant(node, 1)?.1.values::<i64>();
            let [-1, height, width, channels] = dims.unwrap_or_default() else { return refused() };
            net.image = Some([height, width, channels].map(|side| *side as usize));
            self.next("Transpose")?;
        }
        let mut weights = Vec::new();
        while self.next_if("Softmax").is_none() {
            if self.next_if("Transpose").is_some() {
                self.next("Reshape")?;
            }
            let Some(node) = self.nodes.next() else { return refused() };
            if node.operator == "MaxPool" {
                net.layers.push(LayerSpec::MaxPool { size: side(node, "kernel_shape")? });
                continue;
            }
            let ((weight, tensor), (bias, _)) = (self.constant(node, 1)?, self.constant(node, 2)?);
            let is_plain = tensor.values::<f32>().is_some() && !has_text(node, "precision");
            let shape = tensor.shape().to_vec();
            let layer = match (node.operator.as_str(), &shape[..]) {
                ("Linear", [outputs, _]) if is_plain => {
                    LayerSpec::Dense { outputs: *outputs, activation: self.activation() }
                }
                ("Conv", [channels, _, kernel, _]) if is_plain => LayerSpec::Conv {
                    channels: *channels,
                    kernel: *kernel,
                    padding: side(node, "pads")?,
                    activation: self.activation(),
                },
                _ => return refused(),
            };
            net.layers.push(layer);
            weights.extend([weight, bias]);
        }
        // The last layer follows from the classes.
        match net.layers.pop() {
            Some(LayerSpec::Dense { activation: LayerActivation::None, .. })
                if self.nodes.as_slice().is_empty() =>
            {
                Ok(Read { net, preprocessing, weights })
            }
            _ => refused(),
        }
    }
}

fn has_text(node: &Node, name: &str) -> bool {
    matches!(node.attributes.get(name), Some(Attribute::String(text)) if text != "f32")
}

/// The number that an attribute has for each side.
fn side(node: &Node, name: &str) -> Result<usize, TrainError> {
    match node.attributes.get(name) {
        Some(Attribute::Ints(sides)) if sides.iter().all(|side| *side == sides[0]) => {
            sides.first().and_then(|side| usize::try_from(*side).ok()).map_or_else(refused, Ok)
        }
        _ => refused(),
    }
}

#[cfg(test)]
mod tests;
