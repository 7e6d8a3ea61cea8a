//! Owns the way of a file of each format to an artifact, and what the outputs of an ONNX file mean,
//! which such a file does not say.
//!
//! What the file leaves open is tried: a meaning is taken if runs bear it out. Refuses to know the
//! formats themselves. Bound: the runs have a time limit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::archive;
use super::file::Artifact;
use super::signature::{Signature, Task};
use crate::encoder::EncoderFolder;
use crate::error::ModelError;
use crate::graph::{Attribute, Dim, Graph};
use crate::kernels::Alone;
use crate::onnx;
use crate::ops::class_labels;
use crate::program::{BuildOptions, Program, Session};
use crate::serving::{first_inputs, validate};
use crate::tensor::DType;

/// How a model lies in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A file of our own: an artifact or a dense network.
    #[default]
    Safetensors,
    /// An ONNX file.
    Onnx,
    /// A tar file of a Hugging Face folder.
    FolderTar,
}

impl Format {
    /// All of them with the endings of their files.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Safetensors, ".safetensors"), (Self::Onnx, ".onnx"), (Self::FolderTar, ".tar")];

    /// The ending of a file's name.
    pub fn ending(self) -> &'static str {
        // The table is in the order of the variants.
        Self::ALL[self as usize].1
    }
}

/// The operators whose result is a number to be predicted.
const REGRESSORS: [&str; 4] =
    ["TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor", "TreeEnsemble"];

/// What a model consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Operators by name, with how often each occurs.
    pub operators: BTreeMap<String, u64>,
    /// How many trained numbers there are.
    pub parameters: u64,
}

impl Artifact {
    /// What it consists of.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for node in &self.graph.nodes {
            *summary.operators.entry(node.operator.clone()).or_default() += 1;
            let floats = node.attributes.values().map(|attribute| match attribute {
                Attribute::Floats(values) => values.len() as u64,
                _ => 0,
            });
            summary.parameters += floats.sum::<u64>();
        }
        let constants = self.graph.values.iter().filter_map(|value| value.constant.as_ref());
        let is_trained = |dtype| !matches!(dtype, DType::I64 | DType::Bool | DType::String);
        let trained = constants.filter(|constant| is_trained(constant.dtype()));
        summary.parameters += trained.map(|constant| constant.count() as u64).sum::<u64>();
        summary
    }

    /// Reads a model of any format. `until` limits the runs that tell what its outputs mean.
    ///
    /// # Errors
    /// As [`Artifact::parse`] and [`onnx::parse`]; [`ModelError::Unsupported`] names the operator
    /// that cannot be run; [`ModelError::Run`] or [`ModelError::Validation`] says why no run
    /// succeeds.
    pub fn read(format: Format, bytes: &[u8], until: Instant) -> Result<Self, ModelError> {
        match format {
            Format::Safetensors => Self::parse(bytes),
            Format::Onnx => Self::of_onnx(onnx::parse(bytes)?.graph, until),
            Format::FolderTar => {
                let files = archive::files(bytes)?;
                EncoderFolder::new(files.iter().map(|(name, bytes)| (name.as_str(), *bytes)))
                    .parse()
            }
        }
    }

    fn of_onnx(mut graph: Graph, until: Instant) -> Result<Self, ModelError> {
        let program = Arc::new(Program::build(&graph, &BuildOptions::default())?);
        if graph.outputs.iter().any(|output| output.dims.is_none()) {
            learn_ranks(&mut graph, &program, until)?;
        }
        let mut failure = None;
        for task in [classification(&graph), regression(&graph), Some(Task::Tensors)] {
            let Some(task) = task else { continue };
            for batchable in [true, false] {
                let tried = tried(&graph, &program, task.clone(), batchable, until);
                match tried {
                    Ok(signature) => {
                        return Ok(Self {
                            graph,
                            signature,
                            tokenizer: None,
                            dense: None,
                            samples: Vec::new(),
                        });
                    }
                    // What went wrong in the plainest reading is what is wrong with the model.
                    Err(error) => failure = Some(error),
                }
            }
        }
        Err(failure.unwrap_or(ModelError::Closed))
    }
}

/// The signature, if runs agree with it.
fn tried(
    graph: &Graph,
    program: &Arc<Program>,
    task: Task,
    batchable: bool,
    until: Instant,
) -> Result<Signature, ModelError> {
    let signature = Signature::of_graph(graph, task, batchable)?;
    validate(program, &signature, &[], until)?;
    Ok(signature)
}

/// Runs the program once to see how many dimensions its outputs have.
fn learn_ranks(
    graph: &mut Graph,
    program: &Arc<Program>,
    until: Instant,
) -> Result<(), ModelError> {
    // Outputs are what is asked for; the signature of the inputs alone is well known.
    let mut known = graph.clone();
    known.outputs.clone_from(&known.inputs);
    let inputs = Signature::of_graph(&known, Task::Tensors, false)?.inputs;
    let mut session = Session::new(Arc::clone(program));
    let mut result = Ok(());
    for made in first_inputs(&inputs, false) {
        for (index, tensor) in made?.into_iter().enumerate() {
            *session.input_mut(index) = tensor;
        }
        result = session.run(&Alone, Some(until));
        if result.is_ok() {
            break;
        }
    }
    result?;
    for (index, output) in graph.outputs.iter_mut().enumerate() {
        let shape = session.output(index).map(|tensor| tensor.shape().len());
        if let (None, Some(rank)) = (&output.dims, shape) {
            output.dims = Some(vec![Dim::Any; rank]);
        }
    }
    Ok(())
}

/// What a classifier gives, if the graph is one: one of ONNX's own with the names of its classes,
/// or a network that ends in a softmax over a known number of classes.
fn classification(graph: &Graph) -> Option<Task> {
    let is_float = |dtype| matches!(dtype, DType::F32 | DType::F64);
    let rank = |index: usize| Some(graph.outputs.get(index)?.dims.as_ref()?.len());
    let mut of_rank_2 = (0..graph.outputs.len())
        .filter(|index| is_float(graph.outputs[*index].dtype) && rank(*index) == Some(2));
    if let Some(classes) = class_labels(graph) {
        let probabilities = of_rank_2.next()?;
        let label = (0..graph.outputs.len()).find(|index| {
            matches!(graph.outputs[*index].dtype, DType::I64 | DType::String)
                && rank(*index) == Some(1)
        });
        return Some(Task::Classify { classes, probabilities, label });
    }
    let ([output], Some(0)) = (graph.outputs.as_slice(), of_rank_2.next()) else { return None };
    let node = graph.nodes.iter().find(|node| node.outputs.first() == Some(&Some(output.value)))?;
    let Dim::Fixed(count) = output.dims.as_ref()?.get(1)? else { return None };
    let is_softmax = node.domain.is_empty() && node.operator == "Softmax" && *count > 1;
    let classes = || (0..*count).map(|class| class.to_string()).collect();
    is_softmax.then(|| Task::Classify { classes: classes(), probabilities: 0, label: None })
}

/// That the graph predicts numbers, if it has an operator that does.
fn regression(graph: &Graph) -> Option<Task> {
    let is_one = |operator: &str| REGRESSORS.contains(&operator);
    graph.nodes.iter().any(|node| is_one(&node.operator)).then_some(Task::Regress)
}

#[cfg(test)]
mod tests;
