//! Owns the bytes of an artifact.
//!
//! ```text
//! metadata  "truststram.graph": JSON of "graph", without its numbers, "signature", and for a
//!           dense network "dense", its description
//! tensors   the constants of the graph and long lists of its nodes, by name
//!           "truststram.tokenizer": bytes of an optional tokenizer
//!           "truststram.sample.{i}": optional sample of input i
//! ```
//!
//! A file of `truststram.model` alone, as training writes it, becomes the same graph.
//! Refuses to know how a graph is computed. Bound: as the container; every tensor is named once.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dense::{graph_of_dense, signature_of_dense};
use super::graph_text::{self, GraphText, Tensors};
use super::signature::Signature;
use crate::container::{Container, TensorView, tensor_error};
use crate::error::ModelError;
use crate::file::{METADATA_KEY, ModelFile};
use crate::graph::Graph;
use crate::spec::ModelSpec;
use crate::tensor::{DType, Tensor};

/// The metadata key that holds the graph.
pub const GRAPH_KEY: &str = "truststram.graph";
/// The tensor that holds the tokenizer.
pub const TOKENIZER_TENSOR: &str = "truststram.tokenizer";

/// The JSON of an artifact.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    signature: Signature,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dense: Option<ModelSpec>,
    graph: GraphText,
}

/// A model as it lies in its file.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// What it computes.
    pub graph: Graph,
    /// What callers give and get.
    pub signature: Signature,
    /// The file of the tokenizer that makes the tokens of its inputs.
    pub tokenizer: Option<Vec<u8>>,
    /// The description of a dense network that was trained here.
    pub dense: Option<ModelSpec>,
    /// One tensor per input for the run that checks the model before it is used; none for zeros
    /// and ones.
    pub samples: Vec<Tensor>,
}

impl Artifact {
    /// Reads a file's bytes. The constants are copied, so that they lie in memory of the calling
    /// thread.
    ///
    /// # Errors
    /// Names the part, the tensor or the node that is wrong, what it has and what was expected.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModelError> {
        let mut container = Container::parse(bytes)?;
        let Some(text) = container.take_metadata(GRAPH_KEY) else {
            return match container.take_metadata(METADATA_KEY) {
                Some(_) => Ok(Self::of_dense(ModelFile::parse(bytes)?)),
                None => Err(missing(GRAPH_KEY)),
            };
        };
        let Description { signature, dense, graph: text } = serde_json::from_str(&text)
            .map_err(|source| ModelError::Json { part: "graph", source: Arc::new(source) })?;
        if let Some(spec) = &dense {
            spec.validate()?;
        }
        let tokenizer = take_bytes(&mut container)?;
        let mut samples = Vec::new();
        while let Some(stored) = container.get(&sample_name(samples.len())) {
            let (name, shape) = (sample_name(samples.len()), *stored.shape());
            samples.push(container.take(&name, &shape)?.tensor(&name)?);
        }
        let graph = graph_text::read(text, &mut container)?;
        if let Some(name) = container.names().next() {
            return Err(tensor_error(name, "a place in the file", "none in the graph"));
        }
        let artifact = Self { graph, signature, tokenizer, dense, samples };
        artifact.validate()?;
        Ok(artifact)
    }

    /// The artifact of a dense network.
    pub fn of_dense(file: ModelFile) -> Self {
        let signature = signature_of_dense(file.spec());
        let dense = Some(file.spec().clone());
        let graph = graph_of_dense(file);
        Self { graph, signature, tokenizer: None, dense, samples: Vec::new() }
    }

    /// Checks the graph, the signature and that they fit.
    ///
    /// # Errors
    /// [`ModelError::Graph`], [`ModelError::Spec`] or [`ModelError::Tensor`] names what is wrong.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.graph.validate()?;
        self.signature.validate_for(&self.graph)?;
        let (found, wanted) = (self.samples.len(), self.signature.inputs.len());
        if found != 0 && found != wanted {
            return Err(tensor_error(&sample_name(found), "no place", format!("{wanted} of them")));
        }
        let samples = self.samples.iter().zip(&self.signature.inputs).enumerate();
        for (index, (sample, input)) in samples {
            if sample.dtype() != input.dtype {
                return Err(tensor_error(&sample_name(index), sample.dtype(), input.dtype));
            }
        }
        Ok(())
    }

    /// The file's bytes; the same model gives the same bytes.
    ///
    /// # Errors
    /// As [`Artifact::validate`], and [`ModelError::Container`] if the container cannot hold it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        self.validate()?;
        let mut tensors = Tensors::new();
        let description = Description {
            signature: self.signature.clone(),
            dense: self.dense.clone(),
            graph: graph_text::write(&self.graph, &mut tensors),
        };
        let text = serde_json::to_string(&description)
            .map_err(|source| ModelError::Json { part: "graph", source: Arc::new(source) })?;
        // One key only: the order of several would differ from file to file.
        let metadata = HashMap::from([(GRAPH_KEY.to_owned(), text)]);
        if let Some(tokenizer) = &self.tokenizer {
            let bytes = Tensor::of(&[tokenizer.len()], tokenizer.clone()).unwrap_or_default();
            tensors.push((TOKENIZER_TENSOR.to_owned(), Arc::new(bytes)));
        }
        for (index, sample) in self.samples.iter().enumerate() {
            tensors.push((sample_name(index), Arc::new(sample.clone())));
        }
        let mut views = Vec::with_capacity(tensors.len());
        for (name, tensor) in &tensors {
            let view = TensorView::new(tensor);
            views.push((name, view.ok_or_else(|| tensor_error(name, "text", "numbers"))?));
        }
        safetensors::serialize(views, Some(metadata)).map_err(|source| ModelError::Container {
            part: "container",
            found: source.to_string(),
            expected: "tensors that safetensors can hold".to_owned(),
        })
    }
}

fn sample_name(index: usize) -> String {
    format!("truststram.sample.{index}")
}

fn take_bytes(container: &mut Container<'_>) -> Result<Option<Vec<u8>>, ModelError> {
    let name = TOKENIZER_TENSOR;
    let Some(stored) = container.get(name) else { return Ok(None) };
    if stored.dtype() != DType::U8 {
        return Err(tensor_error(name, stored.describe(), DType::U8));
    }
    let shape = *stored.shape();
    Ok(Some(container.take(name, &shape)?.bytes().to_vec()))
}

fn missing(key: &str) -> ModelError {
    ModelError::Container {
        part: "metadata",
        found: format!("without `{key}`"),
        expected: "the model's description under that key".to_owned(),
    }
}
