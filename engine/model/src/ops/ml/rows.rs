//! Owns the reading of inputs as rows of features, one or two dimensions.
//!
//! Refuses more dimensions, at run. Bound: a copy where the numbers are none of binary32.

use crate::program::{Context, Inputs, RunError};
use crate::tensor::{Data, Shape};

/// Rows of numbers.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T> {
    /// The numbers.
    pub values: &'a [T],
    /// How many rows.
    pub count: usize,
    /// Numbers of a row.
    pub width: usize,
}

impl<'a, T> Rows<'a, T> {
    /// The row at `index`, which must be below the count.
    pub fn row(&self, index: usize) -> &'a [T] {
        &self.values[index * self.width..][..self.width]
    }

    /// The first rows and the others; there must be so many.
    pub fn split_at(&self, count: usize) -> (Self, Self) {
        let (first, rest) = self.values.split_at(count * self.width);
        let rest = Self { values: rest, count: self.count - count, ..*self };
        (Self { values: first, count, ..*self }, rest)
    }
}

/// How many rows a shape has and how long they are; one dimension is one row.
///
/// # Errors
/// [`RunError::Input`] for another number of dimensions.
pub fn row_sizes(shape: &Shape) -> Result<(usize, usize), RunError> {
    match **shape {
        [width] => Ok((1, width)),
        [count, width] => Ok((count, width)),
        _ => Err(RunError::input(format_args!("shape {shape}"), "one or two dimensions")),
    }
}

/// Runs `body` on the rows of an input, whatever numbers they are, as binary32. Uses the last
/// buffer of numbers of the scratch.
///
/// # Errors
/// [`RunError::Input`] if it is no rows of numbers, and what `body` says.
pub fn with_rows(
    inputs: &Inputs<'_>,
    index: usize,
    context: &mut Context<'_>,
    body: impl FnOnce(Rows<'_, f32>, &mut Context<'_>) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let tensor = inputs.need(index)?;
    let (count, width) = row_sizes(tensor.shape())?;
    if let Some(values) = tensor.values::<f32>() {
        return body(Rows { values, count, width }, context);
    }
    let last = context.scratch.f32s.len() - 1;
    let mut values = std::mem::take(&mut context.scratch.f32s[last]);
    values.clear();
    match tensor.data() {
        Data::F64(numbers) => values.extend(numbers.iter().map(|value| *value as f32)),
        Data::I64(numbers) => values.extend(numbers.iter().map(|value| *value as f32)),
        Data::I32(numbers) => values.extend(numbers.iter().map(|value| *value as f32)),
        _ => {
            context.scratch.f32s[last] = values;
            return Err(RunError::input(tensor.dtype(), "numbers"));
        }
    }
    let result = body(Rows { values: &values, count, width }, context);
    context.scratch.f32s[last] = values;
    result
}
