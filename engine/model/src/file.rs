//! Owns the model file: one safetensors container with the description in its metadata.
//!
//! ```text
//! offset  bytes  what
//! 0       8      H, length of the header, little endian
//! 8       H      JSON: "__metadata__": {"truststram.model": description as JSON text},
//!                and per tensor its dtype, shape and [start, end) in the data
//! 8 + H   rest   the data: `layers.{i}.weight` [out, in] and `layers.{i}.bias` [out], f32
//! ```
//!
//! The header is read here and not by the `safetensors` crate, so that each complaint names its
//! tensor and what was expected, and because that crate adds hostile offsets without a check.
//! Refuses to know how the weights are used. Bound: every size, offset and shape is checked
//! against the description before a byte of weights is copied.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::tensor::{Dtype, View};
use serde::Deserialize;
use truststram_base::limits::MODEL_FILE_BYTES_MAX;

use crate::error::ModelError;
use crate::spec::ModelSpec;

/// The metadata key that holds the description.
pub const METADATA_KEY: &str = "truststram.model";
/// Longest header: room for the means, scales and class names of the widest input.
const HEADER_BYTES_MAX: u64 = 16 << 20;
const LENGTH_BYTES: usize = 8;

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

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
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
        let (mut header, data) = split_header(bytes)?;
        let text = header.metadata.remove(METADATA_KEY).ok_or_else(|| ModelError::Container {
            part: "metadata",
            found: format!("without `{METADATA_KEY}`"),
            expected: "the model's description under that key".to_owned(),
        })?;
        let spec: ModelSpec = serde_json::from_str(&text)
            .map_err(|source| ModelError::Json { part: "description", source: Arc::new(source) })?;
        spec.validate()?;
        check_coverage(&header.tensors, data.len() as u64)?;
        let mut layers = Vec::with_capacity(spec.layer_shapes().len());
        for (index, (inputs, outputs)) in spec.layer_shapes().enumerate() {
            let shape = [outputs as u64, inputs as u64];
            let weight = take_tensor(&mut header.tensors, weight_name(index), &shape, data)?;
            let bias = take_tensor(&mut header.tensors, bias_name(index), &shape[..1], data)?;
            layers.push(LayerWeights { weight, bias });
        }
        if let Some(name) = header.tensors.into_keys().next() {
            return Err(tensor_error(&name, "a place in the file", "none in the description"));
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
    /// [`ModelError::Io`] names the step and the path.
    pub fn write(&self, path: &Path) -> Result<(), ModelError> {
        let bytes = self.to_bytes()?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let written = File::create(&temporary)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        io_step("write", &temporary, written)?;
        io_step("rename the finished file to", path, fs::rename(&temporary, path))?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        io_step("make durable the folder", folder, synced)
    }
}

/// Checks the length and splits the bytes into the header and the data.
fn split_header(bytes: &[u8]) -> Result<(Header, &[u8]), ModelError> {
    let too_large = |part, bytes, bytes_max| ModelError::TooLarge { part, bytes, bytes_max };
    if bytes.len() as u64 > MODEL_FILE_BYTES_MAX {
        return Err(too_large("whole", bytes.len() as u64, MODEL_FILE_BYTES_MAX));
    }
    let truncated = |part, expected: u64| ModelError::Container {
        part,
        found: format!("cut off, the file has {} bytes", bytes.len()),
        expected: format!("at least {expected} bytes"),
    };
    let (length, rest) =
        bytes.split_first_chunk().ok_or_else(|| truncated("length", LENGTH_BYTES as u64))?;
    let length = u64::from_le_bytes(*length);
    if length > HEADER_BYTES_MAX {
        return Err(too_large("header", length, HEADER_BYTES_MAX));
    }
    let (header, data) = rest
        .split_at_checked(length as usize)
        .ok_or_else(|| truncated("header", length + LENGTH_BYTES as u64))?;
    let header = serde_json::from_slice(header)
        .map_err(|source| ModelError::Json { part: "header", source: Arc::new(source) })?;
    Ok((header, data))
}

/// Checks that the tensors cover the data once, without a gap.
fn check_coverage(
    tensors: &BTreeMap<String, TensorEntry>,
    data_bytes: u64,
) -> Result<(), ModelError> {
    let mut entries: Vec<_> = tensors.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut covered = 0;
    for (name, entry) in entries {
        let (start, end) = entry.data_offsets;
        if start != covered || end < start || end > data_bytes {
            let expected = format!("a start at {covered} and an end up to {data_bytes}");
            return Err(tensor_error(name, format!("the offsets {start} to {end}"), expected));
        }
        covered = end;
    }
    if covered == data_bytes {
        return Ok(());
    }
    Err(ModelError::Container {
        part: "data",
        found: format!("{data_bytes} bytes"),
        expected: format!("{covered} bytes as in the header"),
    })
}

/// Copies one tensor out of the data; its offsets lie inside the data.
fn take_tensor(
    tensors: &mut BTreeMap<String, TensorEntry>,
    name: String,
    shape: &[u64],
    data: &[u8],
) -> Result<Vec<f32>, ModelError> {
    let Some(entry) = tensors.remove(&name) else {
        return Err(tensor_error(&name, "no place in the file", format!("f32 {shape:?}")));
    };
    if entry.dtype != "F32" || entry.shape != shape {
        let found = format!("{} {:?}", entry.dtype, entry.shape);
        return Err(tensor_error(&name, found, format!("F32 {shape:?}")));
    }
    let (start, end) = entry.data_offsets;
    let bytes: u64 = shape.iter().product::<u64>() * 4;
    if end - start != bytes {
        let found = format!("{} bytes", end - start);
        return Err(tensor_error(&name, found, format!("{bytes} bytes")));
    }
    let (values, _) = data[start as usize..end as usize].as_chunks::<4>();
    Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
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

fn tensor_error(tensor: &str, found: impl ToString, expected: impl ToString) -> ModelError {
    ModelError::Tensor {
        tensor: tensor.to_owned(),
        found: found.to_string(),
        expected: expected.to_string(),
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
