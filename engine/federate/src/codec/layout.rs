//! Owns the judgement of an update by its header: what lies where, if it fits the model.
//!
//! Refuses to read a value. Bound: the header by the names of the schema; each tensor of it is one
//! that the schema has a place for.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use truststram_model::tensor::DType;
use truststram_model::{Directory, Place};

use super::encoding::Number;
use super::schema::{Schema, SchemaTensor};
use crate::error::{FederateError, field_error, tensor_error};

/// The metadata key that holds the description.
pub const METADATA_KEY: &str = "truststram.update";

const INDICES: &str = "#indices";
const BITMAP: &str = "#bitmap";
const VALUES: &str = "#values";
const INT8: &str = "#int8";
const SCALES: &str = "#scales";
/// The endings of parts, which no name of a model may have after another name of it.
pub(super) const SUFFIXES: [&str; 5] = [INDICES, BITMAP, VALUES, INT8, SCALES];

/// Bytes of a header besides the names: the description, and numbers with quotes for each part.
const HEADER_BYTES: u64 = 4_096;
const PART_BYTES: u64 = 512;
const PARTS_MAX: u64 = 3;
pub(super) const LENGTH_BYTES: u64 = 8;

/// Whether the values are a model or the difference to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What training has changed.
    Delta,
    /// The model after training.
    Weights,
    /// Whole numbers modulo 2^32 that hide a delta.
    Masked,
}

/// What an update says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// What the values are.
    pub kind: Kind,
    /// The version of the model that was trained.
    pub base: u64,
    /// Values of one block of `#int8`.
    #[serde(default = "usual_block")]
    pub block: usize,
}

fn usual_block() -> usize {
    Number::BLOCK
}

/// Where the values of one tensor that are sent lie, in order.
#[derive(Clone, Debug)]
pub(super) enum ValuePlace {
    /// Floating-point numbers.
    Float(DType, Range<u64>),
    /// Bytes and their scales.
    Int8(Range<u64>, Range<u64>),
    /// Whole numbers modulo 2^32.
    Whole(Range<u64>),
}

/// Which values of one tensor are sent.
#[derive(Clone, Debug)]
pub(super) enum WhichPlace {
    /// All.
    All,
    /// Those at the indices that lie there.
    Indices(Range<u64>),
    /// Those whose bits are set.
    Bitmap(Range<u64>),
}

/// One tensor of an update.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub which: WhichPlace,
    pub values: ValuePlace,
    /// How many values are sent.
    pub sent: usize,
}

/// An update whose header fits the model; offsets count from the first byte of the body.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub head: Head,
    /// In the order of the schema.
    pub parts: Vec<Part>,
}

/// The longest header of an update.
pub(super) fn header_bytes_max(schema: &Schema) -> u64 {
    // A character of a name may be written as an escape of six, or two of them.
    let part = |tensor: &SchemaTensor| PARTS_MAX * (PART_BYTES + 6 * tensor.name.len() as u64);
    HEADER_BYTES + schema.tensors().iter().map(part).sum::<u64>()
}

/// The most bytes that an update of this model can have: every value as f32 and the header.
pub fn body_bytes_max(schema: &Schema) -> u64 {
    let slack = 16 * schema.tensors().len() as u64;
    LENGTH_BYTES + header_bytes_max(schema) + 4 * schema.parameters() as u64 + slack
}

impl Layout {
    /// Judges a header of `body_bytes - data_start` bytes of data that start at `data_start`.
    pub fn read(
        header: &[u8],
        data_start: u64,
        body_bytes: u64,
        schema: &Schema,
    ) -> Result<Self, FederateError> {
        let mut directory = Directory::parse(header, body_bytes.saturating_sub(data_start))?;
        for place in directory.tensors.values_mut() {
            let Range { start, end } = place.bytes;
            place.bytes = data_start + start..data_start + end;
        }
        let text = directory.metadata.remove(METADATA_KEY).ok_or_else(|| {
            field_error("metadata", format!("without `{METADATA_KEY}`"), "the description there")
        })?;
        let head: Head = serde_json::from_str(&text)
            .map_err(|error| field_error("description", error, "JSON of kind, base and block"))?;
        if !Number::BLOCKS.contains(&head.block) {
            return Err(field_error("block", head.block, "16 to 65536"));
        }
        let mut tensors = directory.tensors;
        let mut parts = Vec::with_capacity(schema.tensors().len());
        for (tensor, span) in schema.spans() {
            let part = match head.kind {
                Kind::Masked => Part::take_whole(&mut tensors, tensor, span.len())?,
                _ => Part::take(&mut tensors, tensor, span.len(), head.block)?,
            };
            if head.kind == Kind::Weights && !matches!(part.which, WhichPlace::All) {
                let expected = "every value: what is left out of weights is not zero";
                return Err(tensor_error(&tensor.name, "a part of the weights", expected));
            }
            parts.push(part);
        }
        match tensors.keys().next() {
            Some(name) => Err(tensor_error(name, "a place in the update", "none in the model")),
            None => Ok(Self { head, parts }),
        }
    }
}

impl Part {
    /// A tensor of whole numbers, all of which are sent.
    fn take_whole(
        tensors: &mut BTreeMap<String, Place>,
        tensor: &SchemaTensor,
        count: usize,
    ) -> Result<Self, FederateError> {
        let SchemaTensor { name, shape } = tensor;
        let expected = || format!("{} {shape:?}", DType::U32);
        match tensors.remove(name) {
            Some(Place { dtype: DType::U32, shape: found, bytes, .. }) if *found == **shape => {
                Ok(Self { which: WhichPlace::All, values: ValuePlace::Whole(bytes), sent: count })
            }
            Some(place) => Err(tensor_error(name, place.describe(), expected())),
            None => Err(tensor_error(name, "no place in the update", expected())),
        }
    }

    fn take(
        tensors: &mut BTreeMap<String, Place>,
        tensor: &SchemaTensor,
        count: usize,
        block: usize,
    ) -> Result<Self, FederateError> {
        let name = tensor.name.as_str();
        let expect = |part: String, place: &Place, dtypes: &[DType], shape: &[usize]| {
            if dtypes.contains(&place.dtype) && *place.shape == *shape {
                return Ok(());
            }
            let names: Vec<_> = dtypes.iter().map(|dtype| dtype.to_string()).collect();
            let expected = format!("{} {shape:?}", names.join(" or "));
            Err(tensor_error(&part, place.describe(), expected))
        };
        let floats = [DType::F32, DType::F16, DType::Bf16];
        if let Some(place) = tensors.remove(name) {
            expect(name.to_owned(), &place, &floats, &tensor.shape)?;
            let values = ValuePlace::Float(place.dtype, place.bytes);
            return Ok(Self { which: WhichPlace::All, values, sent: count });
        }
        let mut part =
            |suffix| (format!("{name}{suffix}"), tensors.remove(&format!("{name}{suffix}")));
        let length = |place: &Place| if place.shape.len() == 1 { place.shape[0] } else { 0 };
        let ((values_name, values), (bytes_name, bytes), (scales_name, scales)) =
            (part(VALUES), part(INT8), part(SCALES));
        let missing =
            || tensor_error(name, "no place in the update", format!("{:?}", tensor.shape));
        let (which, sent) = match (part(INDICES), part(BITMAP)) {
            ((part, Some(place)), (_, None)) => {
                expect(part, &place, &[DType::U32], &[length(&place)])?;
                (WhichPlace::Indices(place.bytes.clone()), length(&place))
            }
            ((_, None), (part, Some(place))) => {
                expect(part, &place, &[DType::U8], &[count.div_ceil(8)])?;
                let sent = values.as_ref().or(bytes.as_ref()).map_or(0, length);
                (WhichPlace::Bitmap(place.bytes), sent)
            }
            ((_, None), (_, None)) => (WhichPlace::All, count),
            _ => return Err(tensor_error(name, "indices and a bitmap", "one of both")),
        };
        if sent == 0 || sent > count {
            return Err(tensor_error(name, format!("{sent} values"), format!("1 to {count}")));
        }
        let is_all = matches!(which, WhichPlace::All);
        let sent_shape = [sent];
        let shape = if is_all { tensor.shape.as_slice() } else { &sent_shape };
        let values = match (values, bytes, scales) {
            (Some(place), None, None) if !is_all => {
                expect(values_name, &place, &floats, shape)?;
                ValuePlace::Float(place.dtype, place.bytes)
            }
            (None, Some(place), Some(scales)) => {
                expect(bytes_name, &place, &[DType::I8], shape)?;
                expect(scales_name, &scales, &[DType::F32], &[sent.div_ceil(block)])?;
                ValuePlace::Int8(place.bytes, scales.bytes)
            }
            (None, None, None) => return Err(missing()),
            _ => return Err(tensor_error(name, "other parts", "values, or int8 with scales")),
        };
        Ok(Self { which, values, sent })
    }
}
