//! Owns the places of values that are not zero.
//!
//! Refuses text. Bound: two passes over the values.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Shape, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "NonZero", non_zero)];

#[derive(Debug)]
struct NonZero;

impl Operator for NonZero {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        with_values!(input.data(), values => places(values, input.shape(), outputs, context))
    }
}

fn places<T: Element>(
    values: &[T],
    shape: &Shape,
    outputs: &mut [Tensor],
    context: &Context<'_>,
) -> Result<(), RunError> {
    let (strides, zero) = (shape.strides(), T::default());
    let count = values.iter().filter(|value| **value != zero).count();
    let out = context.shape_as::<i64>(&mut outputs[0], &[shape.len(), count])?;
    let found = values.iter().enumerate().filter(|(_, value)| **value != zero);
    for (column, (place, _)) in found.enumerate() {
        for axis in 0..shape.len() {
            out[axis * count + column] = (place / strides[axis] % shape[axis]) as i64;
        }
    }
    Ok(())
}

fn non_zero(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    if view.dtype(0)? == DType::String {
        return Err(view.refuse("text has no zero"));
    }
    Ok(Built::one(NonZero, DType::I64))
}
