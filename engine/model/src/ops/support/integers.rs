//! Owns the reading of single numbers, whole ones above all, which operators take in 32 or 64 bits.
//!
//! Refuses other types. Bound: one value, or as many as a [`Few`] holds.

use super::few::{FEW_MAX, Few};
use super::float::Number;
use crate::program::{Inputs, RunError};
use crate::tensor::{Data, Tensor};
use crate::with_values;

/// A value of a tensor of whole numbers.
pub fn int_at(data: &Data, index: usize) -> Option<i64> {
    match data {
        Data::I64(values) => values.get(index).copied(),
        Data::I32(values) => values.get(index).map(|value| i64::from(*value)),
        _ => None,
    }
}

/// A value of a tensor of numbers, in the widest type.
pub fn number_at(data: &Data, index: usize) -> Option<f64> {
    with_values!([F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64] data,
        values => values.get(index).map(|value| Number::to_f64(*value)), else None)
}

/// A value of a tensor of whole numbers of any type; none for other tensors.
pub fn whole_at(data: &Data, index: usize) -> Option<i128> {
    with_values!([I8, I16, I32, I64, U8, U16, U32, U64] data,
        values => values.get(index).map(|value| i128::from(*value)), else None)
}

/// A place along a dimension, where negative ones count from the end.
///
/// # Errors
/// [`RunError::Input`] if it is outside.
pub fn index_at(value: i64, len: usize) -> Result<usize, RunError> {
    let from_end = if value < 0 { value.checked_add(len as i64) } else { Some(value) };
    let index = from_end.and_then(|value| usize::try_from(value).ok());
    let wrong = || RunError::input(format_args!("index {value}"), format_args!("one of {len}"));
    index.filter(|index| *index < len).ok_or_else(wrong)
}

/// The values of a short input of whole numbers; none if it is absent.
///
/// # Errors
/// [`RunError::Input`] if it is long, or of another type.
pub fn few_ints(inputs: &Inputs<'_>, index: usize) -> Result<Option<Few<i64>>, RunError> {
    let Some(tensor) = inputs.get(index) else { return Ok(None) };
    if tensor.count() > FEW_MAX || tensor.shape().len() > 1 {
        let found = format_args!("input {index} of shape {}", tensor.shape()).to_string();
        return Err(RunError::input(found, "a short list of whole numbers"));
    }
    let mut few = Few::<i64>::new();
    for position in 0..tensor.count() {
        few.push(whole(tensor, position)?)?;
    }
    Ok(Some(few))
}

/// The only value of an input of whole numbers; none if it is absent.
///
/// # Errors
/// [`RunError::Input`] if there are more, or of another type.
pub fn one_int(inputs: &Inputs<'_>, index: usize) -> Result<Option<i64>, RunError> {
    let Some(tensor) = inputs.get(index) else { return Ok(None) };
    match tensor.count() {
        1 => whole(tensor, 0).map(Some),
        count => Err(RunError::input(format_args!("{count} values"), "one")),
    }
}

fn whole(tensor: &Tensor, index: usize) -> Result<i64, RunError> {
    let wrong = || RunError::input(tensor.dtype(), "whole numbers");
    int_at(tensor.data(), index).ok_or_else(wrong)
}
