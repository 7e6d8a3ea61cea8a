//! Owns the operators that repeat values.
//!
//! Refuses results over the limit of a run. Bound: one pass over the result.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, View, few_ints};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Expand", expand), ("", "Tile", tile)];

/// Dimensions of 1 repeated until both shapes are one.
#[derive(Debug)]
struct Expand;

impl Operator for Expand {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let wanted = few_ints(inputs, 1)?.unwrap_or_default();
        let (shape, strides) = (input.shape(), input.shape().strides());
        let rank = wanted.len().max(shape.len());
        let mut dims = Few::<usize>::new();
        let mut view = View::at(0);
        for place in 0..rank {
            let axis = (place + shape.len()).checked_sub(rank);
            let dim = axis.map_or(1, |axis| shape[axis]);
            let other = (place + wanted.len()).checked_sub(rank).map_or(1, |axis| wanted[axis]);
            let other = usize::try_from(other).ok();
            let (dim, repeats) = match other {
                Some(other) if other == dim || other == 1 => (dim, false),
                Some(other) if dim == 1 => (other, true),
                _ => return Err(RunError::input(format_args!("{shape} to {:?}", &*wanted), "fit")),
            };
            dims.push(dim)?;
            let stride = axis.map_or(0, |axis| strides[axis] as isize);
            view.push(dim, if repeats { 0 } else { stride })?;
        }
        with_values!(input.data(), values => {
            view.copy(values, context.shape_as(&mut outputs[0], &dims)?)
        })
    }
}

/// All of it again and again along each axis.
#[derive(Debug)]
struct Tile;

impl Operator for Tile {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let repeats = few_ints(inputs, 1)?.unwrap_or_default();
        let (shape, strides) = (input.shape(), input.shape().strides());
        let wrong = || RunError::input(format_args!("repeats {:?}", &*repeats), "one per axis");
        if repeats.len() != shape.len() {
            return Err(wrong());
        }
        let mut dims = Few::<usize>::new();
        let mut view = View::at(0);
        for (axis, times) in repeats.iter().enumerate() {
            let times = usize::try_from(*times).map_err(|_| wrong())?;
            dims.push(shape[axis].checked_mul(times).ok_or_else(wrong)?)?;
            view.push(times, 0)?;
            view.push(shape[axis], strides[axis] as isize)?;
        }
        with_values!(input.data(), values => {
            view.copy(values, context.shape_as(&mut outputs[0], &dims)?)
        })
    }
}

fn expand(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    view.dtype_among(1, &[DType::I64])?;
    Ok(Built::one(Expand, view.dtype(0)?))
}

fn tile(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    view.dtype_among(1, &[DType::I64])?;
    Ok(Built::one(Tile, view.dtype(0)?))
}
