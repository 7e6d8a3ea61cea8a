//! Owns the model file: one safetensors container with the description in its metadata.
//!
//! ```text
//! metadata  "truststram.model": the description as JSON text
//! tensors   `layers.{i}.weight` [out, in] and `layers.{i}.bias` [out], f32
//! ```
//!
//! Refuses to know how the weights are used. Bound: every size, offset and shape is checked
//! against the description before a byte of weights is copied.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{Dtype, View};
use truststram_machine::replace_file;

use crate::container::{Container, tensor_error};
use crate::error::ModelError;
use crate::spec::ModelSpec;
use crate::tensor::DType;

/// The metadata key that holds the description.
pub const METADATA_KEY: &str = "truststram.model";

/// The weights of one dense layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights {
    /// `[out, in]`, row-major.
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

/// A checked model: its description and its weights, all finite.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    spec: ModelSpec,
    layers: Vec<LayerWeights>,
}

impl ModelFile {
    /// Joins a description and its weights.
    ///
    /// # Errors
    /// [`ModelError::Spec`] or [`ModelError::Tensor`] if they do not fit or a weight is not finite.
    pub fn new(spec: ModelSpec, layers: Vec<LayerWeights>) -> Result<Self, ModelError> {
        spec.validate()?;
        let shapes = spec.layer_shapes();
        if shapes.len() != layers.len() {
            return Err(tensor_error("layers", layers.len(), shapes.len()));
        }
        for (index, ((inputs, outputs), layer)) in shapes.zip(&layers).enumerate() {
            check_values(&weight_name(index), &layer.weight, inputs * outputs)?;
            check_values(&bias_name(index), &layer.bias, outputs)?;
        }
        Ok(Self { spec, layers })
    }

    /// Reads a file's bytes; copies the weights, so that they lie in memory of the calling thread.
    ///
    /// # Errors
    /// Names the part or the tensor that is wrong, what it has and what was expected.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModelError> {
        let mut container = Container::parse(bytes)?;
        let text = container.take_metadata(METADATA_KEY).ok_or_else(|| ModelError::Container {
            part: "metadata",
            found: format!("without `{METADATA_KEY}`"),
            expected: "the model's description under that key".to_owned(),
        })?;
        let spec: ModelSpec = serde_json::from_str(&text)
            .map_err(|source| ModelError::Json { part: "description", source: Arc::new(source) })?;
        spec.validate()?;
        let mut layers = Vec::with_capacity(spec.layer_shapes().len());
        for (index, (inputs, outputs)) in spec.layer_shapes().enumerate() {
            let shape = [outputs, inputs];
            let weight = take_tensor(&mut container, &weight_name(index), &shape)?;
            let bias = take_tensor(&mut container, &bias_name(index), &shape[..1])?;
            layers.push(LayerWeights { weight, bias });
        }
        if let Some(name) = container.names().next() {
            return Err(tensor_error(name, "a place in the file", "none in the description"));
        }
        Self::new(spec, layers)
    }

    /// The description.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The weights, layer by layer.
    pub fn layers(&self) -> &[LayerWeights] {
        &self.layers
    }

    /// Takes the file apart without a copy.
    pub fn into_parts(self) -> (ModelSpec, Vec<LayerWeights>) {
        (self.spec, self.layers)
    }

    /// The file's bytes; the same model gives the same bytes.
    ///
    /// # Errors
    /// [`ModelError::Container`] if the container cannot hold it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let json = |source| ModelError::Json { part: "description", source: Arc::new(source) };
        let text = serde_json::to_string(&self.spec).map_err(json)?;
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), text)]);
        let shapes = self.spec.layer_shapes();
        let tensors = shapes.zip(&self.layers).enumerate().flat_map(|(index, (shape, layer))| {
            let (inputs, outputs) = shape;
            let weight = F32View { shape: vec![outputs, inputs], values: &layer.weight };
            let bias = F32View { shape: vec![outputs], values: &layer.bias };
            [(weight_name(index), weight), (bias_name(index), bias)]
        });
        safetensors::serialize(tensors, Some(metadata)).map_err(|source| ModelError::Container {
            part: "container",
            found: source.to_string(),
            expected: "tensors that safetensors can hold".to_owned(),
        })
    }

    /// Writes the file so that `path` holds either the old bytes or all of the new ones, whatever
    /// happens meanwhile. A left-over `.tmp` file beside it is overwritten.
    ///
    /// # Errors
    /// [`ModelError::Io`] names the path.
    pub fn write(&self, path: &Path) -> Result<(), ModelError> {
        let bytes = self.to_bytes()?;
        io_step("write", path, replace_file(path, &bytes))
    }
}

/// Copies one tensor out of the container.
fn take_tensor(
    container: &mut Container<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>, ModelError> {
    let expected = || format!("F32 {shape:?}");
    match container.get(name) {
        None => return Err(tensor_error(name, "no place in the file", expected())),
        Some(stored) if stored.dtype() != DType::F32 || **stored.shape() != *shape => {
            return Err(tensor_error(name, stored.describe(), expected()));
        }
        Some(_) => {}
    }
    let stored = container.take(name, shape)?;
    let mut values = Vec::with_capacity(stored.shape().count());
    stored.append_f32(name, &mut values)?;
    Ok(values)
}

fn check_values(name: &str, values: &[f32], count: usize) -> Result<(), ModelError> {
    if values.len() != count {
        return Err(tensor_error(name, format!("{} values", values.len()), count));
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let found = format!("{} at index {at}", values[at]);
            Err(tensor_error(name, found, "finite numbers only"))
        }
    }
}

fn weight_name(layer: usize) -> String {
    format!("layers.{layer}.weight")
}

fn bias_name(layer: usize) -> String {
    format!("layers.{layer}.bias")
}

fn io_step<T>(action: &'static str, path: &Path, result: io::Result<T>) -> Result<T, ModelError> {
    result.map_err(|source| ModelError::Io {
        action,
        path: path.to_owned(),
        source: Arc::new(source),
    })
}

/// A tensor as the safetensors writer wants it.
struct F32View<'a> {
    shape: Vec<usize>,
    values: &'a [f32],
}

impl View for F32View<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

#[cfg(test)]
mod tests;
