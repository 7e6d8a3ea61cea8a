//! Owns the operator that changes the order of dimensions.
//!
//! Refuses nothing but wrong orders. Bound: one copy.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, View};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{RANK_MAX, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Transpose", transpose)];

/// The axes of the input in the order of the output; reversed if none are given.
#[derive(Debug)]
struct Transpose(Option<Vec<usize>>);

impl Operator for Transpose {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let (shape, strides) = (input.shape(), input.shape().strides());
        if let Some(axes) = self.0.as_ref().filter(|axes| axes.len() != shape.len()) {
            return Err(RunError::input(format_args!("{} dimensions", shape.len()), axes.len()));
        }
        let mut view = View::at(0);
        let mut dims = Few::<usize>::new();
        for place in 0..shape.len() {
            let axis = match &self.0 {
                Some(axes) => axes[place],
                None => shape.len() - 1 - place,
            };
            dims.push(shape[axis])?;
            view.push(shape[axis], strides[axis] as isize)?;
        }
        with_values!(input.data(), values => {
            view.copy(values, context.shape_as(&mut outputs[0], &dims)?)
        })
    }
}

fn transpose(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["perm"])?;
    let axes = view.ints("perm")?.map(|perm| {
        let mut axes = Vec::with_capacity(perm.len());
        for axis in perm {
            let index = usize::try_from(*axis).ok().filter(|index| *index < perm.len());
            match index.filter(|index| !axes.contains(index) && perm.len() <= RANK_MAX) {
                Some(index) => axes.push(index),
                None => return Err(view.refuse(format_args!("`perm` {perm:?} is no order"))),
            }
        }
        Ok(axes)
    });
    Ok(Built::one(Transpose(axes.transpose()?), view.dtype(0)?))
}
