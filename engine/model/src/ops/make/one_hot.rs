//! Owns the operator that writes one value at named places of a new axis and another elsewhere.
//!
//! Refuses a negative depth. Bound: one pass over the result.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, axis, number_at};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, RANK_MAX, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "OneHot", one_hot)];

#[derive(Debug)]
struct OneHot {
    axis: i64,
}

/// Cut to a whole number; none for what is no number.
fn whole(value: f64) -> Option<i64> {
    (!value.is_nan()).then_some(value as i64)
}

impl Operator for OneHot {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (indices, depth, values) = (inputs.need(0)?, inputs.need(1)?, inputs.need(2)?);
        let wrong = || RunError::input(format!("depth {depth:?}"), "one number from 0 on");
        let number = number_at(depth.data(), 0).filter(|_| depth.count() == 1).and_then(whole);
        let depth = number.and_then(|depth| usize::try_from(depth).ok()).ok_or_else(wrong)?;
        let mut dims = Few::of(indices.shape())?;
        let axis = axis(self.axis, dims.len() + 1)?;
        let inner: usize = dims[axis..].iter().product();
        dims.insert(axis, depth)?;
        with_values!(values.data(), values => {
            let out = context.shape_as(&mut outputs[0], &dims)?;
            place(values, indices, [depth, inner], out)
        })
    }
}

/// Writes the value for on at each index, and the one for off elsewhere.
fn place<T: Element>(
    values: &[T],
    indices: &Tensor,
    [depth, inner]: [usize; 2],
    out: &mut [T],
) -> Result<(), RunError> {
    let [off, on] = values else {
        let found = format_args!("{} values", values.len()).to_string();
        return Err(RunError::input(found, "one for off and one for on"));
    };
    out.fill(off.clone());
    if out.is_empty() {
        return Ok(());
    }
    for index in 0..indices.count() {
        let value = number_at(indices.data(), index).and_then(whole);
        let place = value.and_then(|value| match value {
            0.. => Some(value),
            _ => value.checked_add(depth as i64),
        });
        let place = place.and_then(|place| usize::try_from(place).ok());
        if let Some(place) = place.filter(|place| *place < depth) {
            let (group, rest) = (index / inner, index % inner);
            out[(group * depth + place) * inner + rest] = on.clone();
        }
    }
    Ok(())
}

fn one_hot(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["axis"])?;
    for index in 0..2 {
        if matches!(view.dtype(index)?, DType::Bool | DType::String) {
            return Err(view.refuse(format_args!("input {index} is no number")));
        }
    }
    let axis = view.int_or("axis", -1)?;
    if axis.unsigned_abs() > RANK_MAX as u64 {
        return Err(view.refuse(format_args!("`axis` {axis}")));
    }
    Ok(Built::one(OneHot { axis }, view.dtype(2)?))
}
