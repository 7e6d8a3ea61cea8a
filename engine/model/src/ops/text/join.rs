//! Owns the joining of texts and their splitting.
//!
//! Refuses shapes that do not fit each other. Bound: one pass over the text.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, View};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family =
    &[("", "StringConcat", string_concat), ("", "StringSplit", string_split)];

/// Each text with its neighbour from the other tensor; dimensions of 1 are repeated.
#[derive(Debug)]
struct StringConcat;

/// The values of a tensor as if it had these dimensions.
fn repeated(tensor: &Tensor, dims: &[usize]) -> Result<View, RunError> {
    let (shape, strides) = (tensor.shape(), tensor.shape().strides());
    let mut view = View::at(0);
    for (place, dim) in dims.iter().enumerate() {
        let axis = (place + shape.len()).checked_sub(dims.len());
        let stride = axis.filter(|axis| shape[*axis] == *dim).map_or(0, |axis| strides[axis]);
        view.push(*dim, stride as isize)?;
    }
    Ok(view)
}

impl Operator for StringConcat {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (left, right) = (inputs.need(0)?, inputs.need(1)?);
        let (left_shape, right_shape) = (left.shape(), right.shape());
        let rank = left_shape.len().max(right_shape.len());
        let mut dims = Few::<usize>::new();
        for place in 0..rank {
            let of = |shape: &[usize]| {
                (place + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
            };
            dims.push(match (of(left_shape), of(right_shape)) {
                (one, other) if one == other || other == 1 => one,
                (1, other) => other,
                _ => return Err(RunError::input(left_shape, right_shape)),
            })?;
        }
        let out = context.shape_as::<String>(&mut outputs[0], &dims)?;
        repeated(left, &dims)?.copy(inputs.values::<String>(0)?.1, out)?;
        let mut ends = vec![String::new(); out.len()];
        repeated(right, &dims)?.copy(inputs.values::<String>(1)?.1, &mut ends)?;
        out.iter_mut().zip(&ends).for_each(|(out, end)| out.push_str(end));
        Ok(())
    }
}

fn string_concat(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    for index in 0..2 {
        view.dtype_among(index, &[DType::String])?;
    }
    Ok(Built::one(StringConcat, DType::String))
}

/// Each text in its parts, filled up with empty ones.
#[derive(Debug)]
struct StringSplit {
    /// What stands between parts; white space of any length if empty.
    delimiter: String,
    /// How many times at most.
    splits_max: usize,
}

impl StringSplit {
    /// Calls with each part.
    fn each<'t>(&self, text: &'t str, mut call: impl FnMut(&'t str)) {
        let parts = self.splits_max.saturating_add(1);
        if !self.delimiter.is_empty() {
            text.splitn(parts, self.delimiter.as_str()).for_each(call);
            return;
        }
        let mut rest = text.trim();
        for _ in 0..self.splits_max {
            let Some(end) = rest.find(char::is_whitespace) else { break };
            call(&rest[..end]);
            rest = rest[end..].trim_start();
        }
        if !rest.is_empty() {
            call(rest);
        }
    }
}

impl Operator for StringSplit {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, texts) = inputs.values::<String>(0)?;
        let [parts, counts] = outputs else { return Err(RunError::input("one output", "two")) };
        let counts = context.shape_as::<i64>(counts, shape)?;
        let mut width = 0;
        for (text, count) in texts.iter().zip(counts.iter_mut()) {
            let mut found = 0usize;
            self.each(text, |_| found += 1);
            *count = found as i64;
            width = width.max(found);
        }
        let mut dims = Few::of(shape)?;
        dims.push(width)?;
        let parts = context.shape_as::<String>(parts, &dims)?;
        parts.iter_mut().for_each(String::clear);
        if width > 0 {
            for (text, parts) in texts.iter().zip(parts.chunks_exact_mut(width)) {
                let mut parts = parts.iter_mut();
                self.each(text, |part| {
                    if let Some(place) = parts.next() {
                        place.push_str(part);
                    }
                });
            }
        }
        Ok(())
    }
}

fn string_split(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["delimiter", "maxsplit"])?;
    view.dtype_among(0, &[DType::String])?;
    let delimiter = view.string("delimiter")?.unwrap_or_default().to_owned();
    let splits_max = usize::try_from(view.int_or("maxsplit", -1)?).unwrap_or(usize::MAX);
    Ok(Built::many(StringSplit { delimiter, splits_max }, vec![DType::String, DType::I64]))
}
