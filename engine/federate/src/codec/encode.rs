//! Owns the writing of an update.
//!
//! Refuses to keep what an encoding loses; see `feedback`. Bound: two copies of what is sent.

use std::borrow::Cow;
use std::collections::HashMap;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, View};

use super::encoding::{Encoding, Number};
use super::layout::{Head, Kind, METADATA_KEY};
use super::schema::Schema;
use crate::error::{FederateError, field_error, tensor_error};

/// Writes `values`, in the order of the schema. `head.block` is that of the encoding, if it has
/// blocks.
///
/// # Errors
/// [`FederateError::Tensor`] for a value that is not finite, or that the encoding cannot hold.
pub fn encode(
    values: &[f32],
    schema: &Schema,
    head: Head,
    encoding: Encoding,
) -> Result<Vec<u8>, FederateError> {
    if values.len() != schema.parameters() {
        return Err(field_error("number of values", values.len(), schema.parameters()));
    }
    let block = match encoding.number {
        Number::Int8 { block } if !Number::BLOCKS.contains(&block) => {
            return Err(field_error("block", block, "16 to 65536"));
        }
        Number::Int8 { block } => block,
        _ => head.block,
    };
    let mut tensors = Vec::new();
    for (tensor, span) in schema.spans() {
        let values = &values[span];
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let found = format!("{} at index {at}", values[at]);
            return Err(tensor_error(&tensor.name, found, "finite numbers only"));
        }
        let kept = encoding.share.map(|share| largest(values, share));
        // A list of most values takes more room than all of them.
        let kept =
            kept.filter(|kept| kept.len() + kept.len().min(values.len() / 32) < values.len());
        let Some(kept) = kept else {
            numbers(&mut tensors, &tensor.name, "", values, &tensor.shape, encoding.number)?;
            continue;
        };
        tensors.push(positions(&tensor.name, &kept, values.len()));
        let sent: Vec<f32> = kept.iter().map(|&index| values[index as usize]).collect();
        numbers(&mut tensors, &tensor.name, "#values", &sent, &[sent.len()], encoding.number)?;
    }
    written(tensors, Head { block, ..head })
}

/// Writes the whole numbers of a masked update, in the order of the schema.
///
/// # Errors
/// [`FederateError::Field`] for another number of values than the model has.
pub fn encode_masked(values: &[u32], schema: &Schema, base: u64) -> Result<Vec<u8>, FederateError> {
    if values.len() != schema.parameters() {
        return Err(field_error("number of values", values.len(), schema.parameters()));
    }
    let tensors = schema.spans().map(|(tensor, span)| {
        let bytes = values[span].iter().flat_map(|value| value.to_le_bytes()).collect();
        (tensor.name.clone(), Tensor { dtype: Dtype::U32, shape: tensor.shape.clone(), bytes })
    });
    written(tensors.collect(), Head { kind: Kind::Masked, base, block: Number::BLOCK })
}

/// The container of these tensors.
fn written(tensors: Vec<(String, Tensor)>, head: Head) -> Result<Vec<u8>, FederateError> {
    let text =
        serde_json::to_string(&head).map_err(|error| field_error("description", error, "JSON"))?;
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), text)]);
    safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| field_error("container", error, "tensors that safetensors can hold"))
}

/// The indices of the values farthest from zero, ascending: that share of them, at least one.
fn largest(values: &[f32], share: f64) -> Vec<u32> {
    let count = ((values.len() as f64 * share) as usize).clamp(1, values.len());
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    // Of equals the first, so that the same update is always written the same way.
    let by_size = |a: &u32, b: &u32| {
        let size = |index: u32| values[index as usize].abs();
        size(*b).total_cmp(&size(*a)).then(a.cmp(b))
    };
    if count < order.len() {
        order.select_nth_unstable_by(count - 1, by_size);
        order.truncate(count);
    }
    order.sort_unstable();
    order
}

/// Which values are kept, as a list or as bits, whichever is shorter.
fn positions(name: &str, kept: &[u32], count: usize) -> (String, Tensor) {
    if count.div_ceil(8) < size_of_val(kept) {
        let mut bits = vec![0_u8; count.div_ceil(8)];
        for &index in kept {
            bits[index as usize / 8] |= 1 << (index % 8);
        }
        let shape = vec![bits.len()];
        return (format!("{name}#bitmap"), Tensor { dtype: Dtype::U8, shape, bytes: bits });
    }
    let bytes = kept.iter().flat_map(|index| index.to_le_bytes()).collect();
    (format!("{name}#indices"), Tensor { dtype: Dtype::U32, shape: vec![kept.len()], bytes })
}

/// Adds the tensors that hold `values`.
fn numbers(
    tensors: &mut Vec<(String, Tensor)>,
    name: &str,
    suffix: &str,
    values: &[f32],
    shape: &[usize],
    number: Number,
) -> Result<(), FederateError> {
    let (dtype, bytes) = match number {
        Number::F32 => (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Number::F16 => {
            let halves = values.iter().map(|value| f16::from_f32(*value));
            (Dtype::F16, halves.flat_map(|half| half.to_le_bytes()).collect())
        }
        Number::Bf16 => {
            let halves = values.iter().map(|value| bf16::from_f32(*value));
            (Dtype::BF16, halves.flat_map(|half| half.to_le_bytes()).collect())
        }
        Number::Int8 { block } => {
            let (bytes, scales) = quantise(values, block);
            let count = scales.len();
            let scales = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
            let scales = Tensor { dtype: Dtype::F32, shape: vec![count], bytes: scales };
            tensors.push((format!("{name}#scales"), scales));
            let bytes = Tensor { dtype: Dtype::I8, shape: shape.to_vec(), bytes };
            tensors.push((format!("{name}#int8"), bytes));
            return Ok(());
        }
    };
    let most = match number {
        Number::F16 => 65_519.0,
        Number::Bf16 => 3.394_7e38,
        _ => f32::MAX,
    };
    if let Some(value) = values.iter().find(|value| value.abs() > most) {
        return Err(tensor_error(name, value, format!("at most {most} in this encoding")));
    }
    let tensor = Tensor { dtype, shape: shape.to_vec(), bytes };
    tensors.push((format!("{name}{suffix}"), tensor));
    Ok(())
}

/// Each value as a multiple, from -127 to 127, of its block's scale.
fn quantise(values: &[f32], block: usize) -> (Vec<u8>, Vec<f32>) {
    let mut bytes = Vec::with_capacity(values.len());
    let mut scales = Vec::with_capacity(values.len().div_ceil(block));
    for block in values.chunks(block) {
        let scale = block.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / 127.0;
        // The quotient of a scale that is too small to divide by is of no use.
        let factor = if scale.is_normal() { scale.recip() } else { 0.0 };
        let rounded = block.iter().map(|value| (value * factor).round_ties_even());
        bytes.extend(rounded.map(|value| value.clamp(-127.0, 127.0) as i8 as u8));
        scales.push(if factor == 0.0 { 0.0 } else { scale });
    }
    (bytes, scales)
}

/// A tensor as the safetensors writer wants it.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
