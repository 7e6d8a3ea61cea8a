//! Owns the server's own description of a model's parameters.
//!
//! Refuses to know what computes with them. Bound: [`TENSOR_COUNT_MAX`] tensors of
//! [`PARAMETER_COUNT_MAX`] values in all.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use truststram_model::tensor::Shape;

use super::layout::SUFFIXES;
use crate::error::FederateError;

const TENSOR_COUNT_MAX: usize = 65_536;
const PARAMETER_COUNT_MAX: usize = 1 << 30;
const NAME_BYTES_MAX: usize = 1_024;

/// The tensor of one value behind those of the model that says, in a masked update, whether the
/// update was as short as the clip.
pub const CLIP_BIT: &str = "truststram.clip_bit";

/// One tensor of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaTensor {
    /// Its name.
    pub name: String,
    /// Values along each dimension.
    pub shape: Vec<usize>,
}

/// All parameters of a model, in one order: an update is a vector of so many values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    tensors: Vec<SchemaTensor>,
    /// Where each tensor starts, and where the last one ends.
    offsets: Vec<usize>,
}

impl Schema {
    /// Takes the tensors in this order.
    ///
    /// # Errors
    /// [`FederateError::Schema`] for more than the limits, an empty tensor, a name twice, or one
    /// that is another's with the ending of a part.
    pub fn new(tensors: Vec<SchemaTensor>) -> Result<Self, FederateError> {
        let wrong = |field, found: String, expected: &str| {
            Err(FederateError::Schema { field, found, expected: expected.to_owned() })
        };
        if tensors.is_empty() || tensors.len() > TENSOR_COUNT_MAX {
            return wrong("number of tensors", tensors.len().to_string(), "1 to 65536");
        }
        let names: BTreeSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let mut offsets = vec![0];
        let mut end = 0_usize;
        for SchemaTensor { name, shape } in &tensors {
            let is_part = |suffix: &&str| names.contains(name.strip_suffix(*suffix).unwrap_or(""));
            if name.is_empty() || name.len() > NAME_BYTES_MAX || SUFFIXES.iter().any(is_part) {
                return wrong(
                    "tensor name",
                    format!("`{name}`"),
                    "one of its own, 1 to 1024 bytes",
                );
            }
            let count = Shape::new(shape).map_or(0, |shape| shape.count());
            end = end.saturating_add(count);
            if count == 0 || end > PARAMETER_COUNT_MAX {
                let found = format!("{shape:?} of `{name}`");
                return wrong("shape", found, "at least one value, at most 2^30 in all");
            }
            offsets.push(end);
        }
        if names.len() != tensors.len() || names.contains("__metadata__") {
            return wrong("tensor names", "the same twice".to_owned(), "each once");
        }
        Ok(Self { tensors, offsets })
    }

    /// The same with [`CLIP_BIT`] behind.
    ///
    /// # Errors
    /// As [`Schema::new`], such as for a model that has a tensor of that name.
    pub fn with_clip_bit(&self) -> Result<Self, FederateError> {
        let bit = SchemaTensor { name: CLIP_BIT.to_owned(), shape: vec![1] };
        Self::new(self.tensors.iter().cloned().chain([bit]).collect())
    }

    /// The tensors, in their order.
    pub fn tensors(&self) -> &[SchemaTensor] {
        &self.tensors
    }

    /// How many values there are.
    pub fn parameters(&self) -> usize {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// Each tensor with the places of its values.
    pub fn spans(&self) -> impl Iterator<Item = (&SchemaTensor, std::ops::Range<usize>)> {
        let spans = self.offsets.windows(2).map(|pair| pair[0]..pair[1]);
        self.tensors.iter().zip(spans)
    }

    /// The tensor that the value at `index` is in, and the index within it.
    pub(crate) fn find(&self, index: usize) -> (usize, usize) {
        let tensor = self.offsets.partition_point(|&start| start <= index).saturating_sub(1);
        (tensor, index - self.offsets[tensor])
    }

    /// Where a tensor starts.
    pub(crate) fn start(&self, tensor: usize) -> usize {
        self.offsets[tensor]
    }
}
