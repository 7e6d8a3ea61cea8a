//! Owns an update that fits the model, and the reading of any run of its values.
//!
//! Refuses to know its sender. Bound: one pass of [`TILE`] values over the update to measure it;
//! what lies in a file stays there.

use std::fs::File;

use super::layout::{Head, LENGTH_BYTES, Layout, body_bytes_max, header_bytes_max};
use super::schema::Schema;
use super::values::{Body, Numbers};
use crate::aggregate::Rows;
use crate::error::{FederateError, field_error, tensor_error};

const TILE: usize = 4_096;

/// An update whose header, indices and scales fit the model.
#[derive(Debug)]
pub struct Received {
    head: Head,
    schema: Schema,
    body: Body,
    tensors: Vec<Numbers>,
}

/// What one pass over an update finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Euclidean length of the values as they were sent.
    pub l2_norm: f64,
}

impl Received {
    /// Takes an update in memory.
    ///
    /// # Errors
    /// Which part of it does not fit the model, what it has and what was expected.
    pub fn of_bytes(bytes: Vec<u8>, schema: &Schema) -> Result<Self, FederateError> {
        Self::open(Body::Memory(bytes), schema)
    }

    /// Takes an update in a file, which is read as its values are asked for.
    ///
    /// # Errors
    /// As [`Received::of_bytes`], and what the file system says.
    pub fn of_file(file: File, schema: &Schema) -> Result<Self, FederateError> {
        let bytes = file.metadata()?.len();
        Self::open(Body::File(file, bytes), schema)
    }

    fn open(body: Body, schema: &Schema) -> Result<Self, FederateError> {
        let bytes = body.len();
        let too_large = |part, bytes, bytes_max| {
            if bytes > bytes_max {
                return Err(FederateError::TooLarge { part, bytes, bytes_max });
            }
            Ok(())
        };
        too_large("body", bytes, body_bytes_max(schema))?;
        if bytes < LENGTH_BYTES {
            return Err(field_error("body", format!("{bytes} bytes"), "at least 8"));
        }
        let mut length = [0; LENGTH_BYTES as usize];
        body.read(0, &mut length)?;
        let length = u64::from_le_bytes(length);
        too_large("header", length, header_bytes_max(schema))?;
        if length > bytes - LENGTH_BYTES {
            let rest = bytes - LENGTH_BYTES;
            return Err(field_error("header", format!("{length} bytes"), format!("up to {rest}")));
        }
        let mut header = vec![0; length as usize];
        body.read(LENGTH_BYTES, &mut header)?;
        let layout = Layout::read(&header, LENGTH_BYTES + length, bytes, schema)?;
        let parts = layout.parts.iter().zip(schema.spans());
        let tensors = parts.map(|(part, (tensor, span))| {
            Numbers::open(&body, part, layout.head.block, &tensor.name, span.len())
        });
        let tensors = tensors.collect::<Result<_, _>>()?;
        Ok(Self { head: layout.head, schema: schema.clone(), body, tensors })
    }

    /// What it says of itself.
    pub fn head(&self) -> Head {
        self.head
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.body.len()
    }

    /// Adds a masked update to the sum of others, modulo 2^32.
    ///
    /// # Errors
    /// [`FederateError::Field`] for another kind of update; what the file system says.
    pub(crate) fn add_masked(&self, sum: &mut [u32]) -> Result<(), FederateError> {
        for (tensor, (_, span)) in self.tensors.iter().zip(self.schema.spans()) {
            if !tensor.add_whole(&self.body, &mut sum[span])? {
                return Err(field_error("kind", "delta or weights", "masked"));
            }
        }
        Ok(())
    }

    /// Calls `each` for the tensors that have values among `count` from `first`: the tensor, the
    /// first value of it, and where its values lie in the run.
    fn runs(
        &self,
        first: usize,
        count: usize,
        mut each: impl FnMut(usize, usize, std::ops::Range<usize>) -> Result<(), FederateError>,
    ) -> Result<(), FederateError> {
        let mut done = 0;
        while done < count {
            let (tensor, index) = self.schema.find(first + done);
            let end = self.schema.start(tensor + 1).min(first + count) - first;
            each(tensor, index, done..end)?;
            done = end;
        }
        Ok(())
    }
}

/// Reads every value of an update once.
///
/// # Errors
/// [`FederateError::Tensor`] names the first value that is not finite, or the place up to which
/// the update is longer than any number; what reading says.
pub fn measure(update: &dyn Rows, schema: &Schema) -> Result<Measured, FederateError> {
    let mut tile = [0.0_f32; TILE];
    let mut total = 0.0;
    let len = update.len();
    for first in (0..len).step_by(TILE) {
        let values = &mut tile[..TILE.min(len - first)];
        update.read(first, values)?;
        // Eight sums, since a single one would wait for each addition.
        let mut squares = [0.0_f64; 8];
        let (whole, rest) = values.as_chunks::<8>();
        for eight in whole {
            for (square, value) in squares.iter_mut().zip(eight) {
                *square += f64::from(*value) * f64::from(*value);
            }
        }
        let rest = rest.iter().map(|value| f64::from(*value) * f64::from(*value));
        total += squares.iter().sum::<f64>() + rest.sum::<f64>();
        if !(total.sqrt() as f32).is_finite() {
            let at = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
            let (tensor, index) = schema.find(first + at);
            let name = &schema.tensors()[tensor].name;
            let found = format!("{} at index {index}", values[at]);
            return Err(tensor_error(name, found, "finite numbers only, of a finite length"));
        }
    }
    Ok(Measured { l2_norm: total.sqrt() })
}

impl Rows for Received {
    fn len(&self) -> usize {
        self.schema.parameters()
    }

    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), FederateError> {
        self.runs(first, out.len(), |tensor, index, run| {
            self.tensors[tensor].read(&self.body, index, &mut out[run])
        })
    }

    fn borrow(&self, first: usize, count: usize) -> Option<&[f32]> {
        let (tensor, index) = self.schema.find(first);
        let is_within = first + count <= self.schema.start(tensor + 1);
        is_within.then(|| self.tensors[tensor].borrow(&self.body, index, count)).flatten()
    }
}
