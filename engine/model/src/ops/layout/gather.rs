//! Owns the operators that take values from places that another tensor names.
//!
//! Refuses places beyond the values; negative ones count from the end. Bound: one copy.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, allowed, axis, check_axes, index_at, int_at, shape_like};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family =
    &[("", "Gather", gather), ("", "GatherElements", gather_elements), ("", "GatherND", gather_nd)];

/// Whole slices along an axis.
#[derive(Debug)]
struct Gather {
    axis: i64,
}

impl Operator for Gather {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (input, indices) = (inputs.need(0)?, inputs.need(1)?);
        let shape = input.shape();
        let axis = axis(self.axis, shape.len())?;
        let mut dims = Few::of(&shape[..axis])?;
        indices.shape().iter().chain(&shape[axis + 1..]).try_for_each(|dim| dims.push(*dim))?;
        let (len, inner) = (shape[axis], shape[axis + 1..].iter().product());
        with_values!(input.data(), values => {
            let out = context.shape_as(&mut outputs[0], &dims)?;
            slices(values, indices, [len, inner], out)
        })
    }
}

fn slices<T: Element>(
    values: &[T],
    indices: &Tensor,
    [len, inner]: [usize; 2],
    out: &mut [T],
) -> Result<(), RunError> {
    if out.is_empty() {
        return Ok(());
    }
    let groups = out.chunks_exact_mut(indices.count() * inner);
    for (group, out) in groups.enumerate() {
        let start = group * len * inner;
        for (index, out) in out.chunks_exact_mut(inner).enumerate() {
            let place = index_at(whole(indices, index)?, len)?;
            let from = start + place * inner;
            out.clone_from_slice(&values[from..from + inner]);
        }
    }
    Ok(())
}

fn whole(indices: &Tensor, index: usize) -> Result<i64, RunError> {
    let wrong = || RunError::input(indices.dtype(), "whole numbers");
    int_at(indices.data(), index).ok_or_else(wrong)
}

/// One value for each index, at its own place but for one axis.
#[derive(Debug)]
struct GatherElements {
    axis: i64,
}

impl Operator for GatherElements {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (input, indices) = (inputs.need(0)?, inputs.need(1)?);
        let axis = axis(self.axis, input.shape().len())?;
        within(input, indices, axis)?;
        with_values!(input.data(), values => {
            let out = shape_like(context, &mut outputs[0], indices.shape(), values)?;
            each_place(input, indices, axis, |index, place| {
                out[index].clone_from(&values[place]);
                Ok(())
            })
        })
    }
}

/// That indices have a place of their own in the values, but for one axis.
pub fn within(input: &Tensor, indices: &Tensor, axis: usize) -> Result<(), RunError> {
    let (shape, wanted) = (input.shape(), indices.shape());
    let fits = shape.len() == wanted.len()
        && (0..shape.len()).all(|place| place == axis || wanted[place] <= shape[place]);
    match fits {
        true => Ok(()),
        false => Err(RunError::input(format_args!("indices of {wanted}"), format_args!("{shape}"))),
    }
}

/// Calls with the number of each index and the place of the values that it names; the shapes must
/// be [`within`].
pub fn each_place(
    input: &Tensor,
    indices: &Tensor,
    axis: usize,
    mut call: impl FnMut(usize, usize) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let (strides, dims) = (input.shape().strides(), indices.shape());
    let mut places = Few::<usize>::filled(0, dims.len())?;
    // Where the index would be without its axis.
    let mut base = 0;
    for index in 0..indices.count() {
        let place = index_at(whole(indices, index)?, input.shape()[axis])?;
        call(index, base + place * strides[axis])?;
        for step in (0..dims.len()).rev() {
            let stride = if step == axis { 0 } else { strides[step] };
            places[step] += 1;
            base += stride;
            if places[step] < dims[step] {
                break;
            }
            places[step] = 0;
            base -= stride * dims[step];
        }
    }
    Ok(())
}

/// Slices at places of several axes at once.
#[derive(Debug)]
struct GatherNd {
    batch_dims: usize,
}

impl Operator for GatherNd {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (input, indices) = (inputs.need(0)?, inputs.need(1)?);
        let (shape, wanted) = (input.shape(), indices.shape());
        let wrong = || RunError::input(format_args!("indices of {wanted}"), format!("for {shape}"));
        let (depth, outer) = wanted.split_last().ok_or_else(wrong)?;
        let batch = self.batch_dims;
        let same = outer.len() >= batch && shape.get(..batch) == outer.get(..batch);
        let first = batch.checked_add(*depth).filter(|first| *first <= shape.len() && same);
        let first = first.ok_or_else(wrong)?;
        let mut dims = Few::of(outer)?;
        shape[first..].iter().try_for_each(|dim| dims.push(*dim))?;
        let inner: usize = shape[first..].iter().product();
        let per_batch: usize = outer[batch..].iter().product();
        let strides = shape.strides();
        let batch_stride: usize = shape[batch..].iter().product();
        with_values!(input.data(), values => {
            let out = context.shape_as(&mut outputs[0], &dims)?;
            if out.is_empty() {
                return Ok(());
            }
            for (tuple, out) in out.chunks_exact_mut(inner).enumerate() {
                let mut from = tuple / per_batch * batch_stride;
                for step in 0..*depth {
                    let place = whole(indices, tuple * depth + step)?;
                    from += index_at(place, shape[batch + step])? * strides[batch + step];
                }
                out.clone_from_slice(&values[from..from + inner]);
            }
            Ok(())
        })
    }
}

fn gather(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let axis = axis_setting(view)?;
    Ok(Built::one(Gather { axis }, view.dtype(0)?))
}

fn gather_elements(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let axis = axis_setting(view)?;
    Ok(Built::one(GatherElements { axis }, view.dtype(0)?))
}

fn axis_setting(view: &NodeView<'_>) -> Result<i64, ModelError> {
    view.only_attributes(&["axis"])?;
    view.dtype_among(1, &[DType::I32, DType::I64])?;
    let axis = view.int_or("axis", 0)?;
    check_axes(view, &[axis])?;
    Ok(axis)
}

fn gather_nd(view: &NodeView<'_>) -> Result<Built, ModelError> {
    allowed(view, &[("batch_dims", 12, u32::MAX)])?;
    view.dtype_among(1, &[DType::I64])?;
    let batch_dims = view.int_or("batch_dims", 0)?;
    let refused = || view.refuse(format_args!("`batch_dims` {batch_dims}"));
    let batch_dims = usize::try_from(batch_dims).map_err(|_| refused())?;
    if batch_dims >= crate::tensor::RANK_MAX {
        return Err(refused());
    }
    Ok(Built::one(GatherNd { batch_dims }, view.dtype(0)?))
}
