//! Owns the reading of a safetensors container: names, types, shapes and the bytes of each tensor.
//!
//! ```text
//! offset  bytes  what
//! 0       8      H, length of the header, little endian
//! 8       H      JSON: an optional "__metadata__" of texts, and per tensor its dtype, shape and
//!                [start, end) in the data
//! 8 + H   rest   the data, little endian, row-major
//! ```
//!
//! It is read here and not by the `safetensors` crate, so that each complaint names its tensor and
//! what was expected, and because that crate adds hostile offsets without a check.
//! Refuses to know what the tensors are for. Bound: every length, offset and shape is checked
//! against the bytes that are there before a byte of data is copied.

use std::collections::BTreeMap;

use half::{bf16, f16};
use truststram_base::limits::MODEL_FILE_BYTES_MAX;

use crate::error::ModelError;
use crate::tensor::{DType, Shape};

/// Longest header: room for the means, scales and class names of the widest input.
const HEADER_BYTES_MAX: u64 = 16 << 20;
const LENGTH_BYTES: usize = 8;

/// A container whose tensors lie inside its data and cover it once.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Stored<'a>>,
}

/// One tensor as it lies in the file; as many bytes as its type and shape say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    dtype: DType,
    dtype_name: &'static str,
    shape: Shape,
    bytes: &'a [u8],
}

impl<'a> Container<'a> {
    /// Reads the header and checks each tensor against the data.
    ///
    /// # Errors
    /// Names the part or the tensor that is wrong, what it has and what was expected.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let (header, data) = split_header(bytes)?;
        let Directory { metadata, tensors } = Directory::parse(header, data.len() as u64)?;
        let stored = |(name, place): (String, Place)| {
            // The directory was checked against the length: the offsets lie inside the data.
            let bytes = data.get(place.bytes.start as usize..place.bytes.end as usize);
            let Place { dtype, dtype_name, shape, .. } = place;
            (name, Stored { dtype, dtype_name, shape, bytes: bytes.unwrap_or(&[]) })
        };
        Ok(Self { metadata, tensors: tensors.into_iter().map(stored).collect() })
    }

    /// A text of the metadata, taken out.
    pub fn take_metadata(&mut self, key: &str) -> Option<String> {
        self.metadata.remove(key)
    }

    /// A tensor, if it is there and not yet taken.
    pub fn get(&self, name: &str) -> Option<&Stored<'a>> {
        self.tensors.get(name)
    }

    /// Takes out a tensor that must have this shape.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if it is missing or has another shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored<'a>, ModelError> {
        let Some(stored) = self.tensors.remove(name) else {
            let expected = format!("one of the shape {shape:?}");
            return Err(tensor_error(name, "no place in the file", expected));
        };
        if *stored.shape != *shape {
            let expected = format!("{} {shape:?}", stored.dtype_name);
            return Err(tensor_error(name, stored.describe(), expected));
        }
        Ok(stored)
    }

    /// The names of the tensors that were not taken, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

impl<'a> Stored<'a> {
    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Elements along each dimension.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Type and shape as messages give them.
    pub fn describe(&self) -> String {
        format!("{} {:?}", self.dtype_name, self.shape)
    }

    /// Appends the values, rounded to f32 where the file has more.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if they are no floating-point numbers, or if one is not finite.
    pub fn append_f32(&self, name: &str, out: &mut Vec<f32>) -> Result<(), ModelError> {
        let bytes = self.bytes;
        let first = out.len();
        match self.dtype {
            DType::F32 => {
                out.extend(bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)));
            }
            DType::F16 => {
                out.extend(bytes.as_chunks().0.iter().map(|v| f16::from_le_bytes(*v).to_f32()));
            }
            DType::Bf16 => {
                out.extend(bytes.as_chunks().0.iter().map(|v| bf16::from_le_bytes(*v).to_f32()));
            }
            DType::F64 => {
                out.extend(bytes.as_chunks().0.iter().map(|v| f64::from_le_bytes(*v) as f32));
            }
            _ => return Err(tensor_error(name, self.describe(), "floating-point numbers")),
        }
        let values = &out[first..];
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => {
                let found = format!("{} at index {at}", values[at]);
                Err(tensor_error(name, found, "finite numbers only"))
            }
        }
    }
}

/// Checks the length and splits the bytes into the header and the data.
fn split_header(bytes: &[u8]) -> Result<(&[u8], &[u8]), ModelError> {
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
    rest.split_at_checked(length as usize)
        .ok_or_else(|| truncated("header", length + LENGTH_BYTES as u64))
}

/// The complaint about one tensor.
pub(crate) fn tensor_error(
    tensor: &str,
    found: impl ToString,
    expected: impl ToString,
) -> ModelError {
    ModelError::Tensor {
        tensor: tensor.to_owned(),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

mod directory;
mod native;

pub use directory::{Directory, Place};
pub(crate) use native::TensorView;

#[cfg(test)]
mod tests;
