//! Owns the operators that give the same values another shape.
//!
//! Refuses to move values past each other. Bound: one copy.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, allowed, axis_or_end, check_axes, few_ints, unique_axes};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::Tensor;
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[
    ("", "Reshape", reshape),
    ("", "Flatten", flatten),
    ("", "Squeeze", squeeze),
    ("", "Unsqueeze", unsqueeze),
];

/// The same values in another shape.
#[derive(Debug)]
enum Shaped {
    /// The second input says which; 0 stands for the input's dimension unless zeros are allowed,
    /// and one -1 for what is left.
    Listed { zeros: bool },
    /// Two dimensions, divided at an axis.
    Flat { axis: i64 },
    /// Without dimensions of 1: these, those of the second input, or all.
    Squeezed { axes: Option<Vec<i64>> },
    /// With dimensions of 1 at these axes of the result, or those of the second input.
    Unsqueezed { axes: Option<Vec<i64>> },
}

impl Operator for Shaped {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let dims = match self {
            Self::Listed { zeros } => {
                let wanted = few_ints(inputs, 1)?.unwrap_or_default();
                listed(input, &wanted, *zeros)?
            }
            Self::Flat { axis } => {
                let axis = axis_or_end(*axis, input.shape().len())?;
                let (outer, inner) = input.shape().split_at(axis);
                // A dimension of 0 in one half leaves the other half unchecked by the shape.
                Few::of(&[product(outer)?, product(inner)?])?
            }
            Self::Squeezed { axes } => squeezed(input, listed_axes(axes, inputs)?)?,
            Self::Unsqueezed { axes } => {
                unsqueezed(input, listed_axes(axes, inputs)?.unwrap_or_default())?
            }
        };
        let count = product(&dims)?;
        if count != input.count() {
            return Err(RunError::input(format_args!("{} values", input.count()), count));
        }
        with_values!(input.data(), values => {
            context.shape_as(&mut outputs[0], &dims)?.clone_from_slice(values);
        });
        Ok(())
    }
}

fn product(dims: &[usize]) -> Result<usize, RunError> {
    let counted = match dims.contains(&0) {
        true => Some(0),
        false => dims.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim)),
    };
    counted.ok_or_else(|| RunError::input(format_args!("dimensions {dims:?}"), "smaller ones"))
}

fn listed_axes(axes: &Option<Vec<i64>>, inputs: &Inputs<'_>) -> Result<Option<Few<i64>>, RunError> {
    match axes {
        Some(axes) => Few::of(axes).map(Some),
        None => few_ints(inputs, 1),
    }
}

fn listed(input: &Tensor, wanted: &[i64], zeros: bool) -> Result<Few<usize>, RunError> {
    let wrong = |expected| RunError::input(format_args!("a shape of {wanted:?}"), expected);
    let mut dims = Few::<usize>::new();
    let mut open = None;
    for (axis, dim) in wanted.iter().enumerate() {
        match *dim {
            -1 if open.is_some() => return Err(wrong("at most one -1")),
            -1 => {
                open = Some(axis);
                dims.push(1)?;
            }
            0 if !zeros => {
                let kept = input.shape().get(axis);
                dims.push(*kept.ok_or_else(|| wrong("0 only where the input has a dimension"))?)?;
            }
            dim => dims.push(usize::try_from(dim).map_err(|_| wrong("no other negatives"))?)?,
        }
    }
    if let Some(axis) = open {
        let known = product(&dims)?;
        let fits = known > 0 && input.count().is_multiple_of(known);
        if !fits || (zeros && wanted.contains(&0)) {
            return Err(wrong("one -1 that the number of values determines"));
        }
        dims[axis] = input.count() / known;
    }
    Ok(dims)
}

fn squeezed(input: &Tensor, axes: Option<Few<i64>>) -> Result<Few<usize>, RunError> {
    let shape = input.shape();
    let axes = axes.map(|axes| unique_axes(&axes, shape.len())).transpose()?;
    let mut dims = Few::<usize>::new();
    for (axis, dim) in shape.iter().enumerate() {
        let named = axes.as_ref().is_some_and(|axes| axes.contains(&axis));
        match *dim {
            1 if named || axes.is_none() => {}
            dim if named => return Err(RunError::input(format_args!("dimension {dim}"), 1)),
            dim => dims.push(dim)?,
        }
    }
    Ok(dims)
}

fn unsqueezed(input: &Tensor, axes: Few<i64>) -> Result<Few<usize>, RunError> {
    let rank = input.shape().len() + axes.len();
    let axes = unique_axes(&axes, rank)?;
    let mut kept = input.shape().iter();
    let mut dims = Few::<usize>::new();
    for axis in 0..rank {
        match axes.contains(&axis) {
            true => dims.push(1)?,
            false => dims.push(kept.next().copied().unwrap_or(1))?,
        }
    }
    Ok(dims)
}

fn reshape(view: &NodeView<'_>) -> Result<Built, ModelError> {
    allowed(view, &[("allowzero", 14, u32::MAX)])?;
    view.dtype_among(1, &[crate::tensor::DType::I64])?;
    let zeros = view.int_or("allowzero", 0)? != 0;
    Ok(Built::one(Shaped::Listed { zeros }, view.dtype(0)?))
}

fn flatten(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["axis"])?;
    Ok(Built::one(Shaped::Flat { axis: view.int_or("axis", 1)? }, view.dtype(0)?))
}

/// Axes as a setting up to opset 12, and as the second input from 13 on.
fn axes(view: &NodeView<'_>) -> Result<Option<Vec<i64>>, ModelError> {
    allowed(view, &[("axes", 1, 12)])?;
    let axes = view.ints("axes")?;
    if let Some(axes) = axes {
        check_axes(view, axes)?;
    }
    if view.opset() < 13 && view.input_count() > 1 {
        return Err(view.refuse("this opset has axes as an attribute"));
    }
    if view.has_input(1) {
        view.dtype_among(1, &[crate::tensor::DType::I64])?;
    }
    Ok(axes.map(<[i64]>::to_vec))
}

fn squeeze(view: &NodeView<'_>) -> Result<Built, ModelError> {
    Ok(Built::one(Shaped::Squeezed { axes: axes(view)? }, view.dtype(0)?))
}

fn unsqueeze(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let axes = axes(view)?;
    if axes.is_none() && !view.has_input(1) {
        return Err(view.refuse("it has no axes"));
    }
    Ok(Built::one(Shaped::Unsqueezed { axes }, view.dtype(0)?))
}
