//! Owns where slices are written: at tuples of indices, and at a position of a cache.
//!
//! Refuses to know what is done with them. Bound: one pass over the indices.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::support::{Few, axis, check_axes, index_at, int_at, values_like};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Shape, Tensor};
use crate::with_values;

/// Calls with the beginning of each slice in the updates, in the values, and its length.
pub fn each_tuple(
    input: &Tensor,
    indices: &Tensor,
    updates: &Shape,
    mut call: impl FnMut(usize, usize, usize),
) -> Result<(), RunError> {
    let (shape, strides) = (input.shape(), input.shape().strides());
    let wrong =
        || RunError::input(format_args!("indices of {}", indices.shape()), format!("for {shape}"));
    let (depth, outer) = indices.shape().split_last().ok_or_else(wrong)?;
    let inner = shape.get(*depth..).ok_or_else(wrong)?;
    let mut wanted = Few::of(outer)?;
    inner.iter().try_for_each(|dim| wanted.push(*dim))?;
    if **updates != *wanted {
        let found = format_args!("updates of {updates}").to_string();
        return Err(RunError::input(found, format_args!("{:?}", &*wanted)));
    }
    if updates.count() == 0 {
        return Ok(());
    }
    let len: usize = inner.iter().product();
    for tuple in 0..updates.count() / len {
        let mut to = 0;
        for step in 0..*depth {
            let index = int_at(indices.data(), tuple * depth + step).ok_or_else(wrong)?;
            to += index_at(index, shape[step])? * strides[step];
        }
        call(tuple * len, to, len);
    }
    Ok(())
}

/// New rows written into a cache at a position of each of a batch.
#[derive(Debug)]
struct TensorScatter {
    axis: i64,
    circular: bool,
}

impl Operator for TensorScatter {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (cache, update) = (inputs.need(0)?, inputs.need(1)?);
        let (shape, wanted) = (cache.shape(), update.shape());
        let axis = axis(self.axis, shape.len())?;
        let fits = axis > 0
            && shape.len() == wanted.len()
            && (0..shape.len()).all(|place| match place == axis {
                true => wanted[place] <= shape[place],
                false => wanted[place] == shape[place],
            });
        let wrong = || RunError::input(format_args!("{wanted} into {shape}"), "rows that fit");
        if !fits || inputs.get(2).is_some_and(|starts| **starts.shape() != shape[..1]) {
            return Err(wrong());
        }
        let (rows, len) = (wanted[axis], shape[axis]);
        let inner: usize = shape[axis + 1..].iter().product();
        let per_batch: usize = shape[1..axis].iter().product();
        with_values!(cache.data(), values => {
            let out = context.shape_as(&mut outputs[0], shape)?;
            out.clone_from_slice(values);
            if update.count() == 0 {
                return Ok(());
            }
            let (_, updates) = values_like(inputs, 1, values)?;
            for (group, part) in updates.chunks_exact(rows * inner).enumerate() {
                let start = match inputs.get(2) {
                    Some(starts) => int_at(starts.data(), group / per_batch).ok_or_else(wrong)?,
                    None => 0,
                };
                let start = usize::try_from(start).map_err(|_| wrong())?;
                for (row, part) in part.chunks_exact(inner).enumerate() {
                    let place = start.checked_add(row).ok_or_else(wrong)?;
                    let place = if self.circular { place % len } else { place };
                    if place >= len {
                        return Err(wrong());
                    }
                    let to = (group * len + place) * inner;
                    out[to..to + inner].clone_from_slice(part);
                }
            }
            Ok(())
        })
    }
}

/// Builds the operator that updates a cache.
pub fn tensor_scatter(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["axis", "mode"])?;
    let circular = match view.string("mode")?.unwrap_or("linear") {
        "linear" => false,
        "circular" => true,
        other => return Err(view.refuse(format_args!("mode `{other}` is not known"))),
    };
    let axis = view.int_or("axis", -2)?;
    check_axes(view, &[axis])?;
    let dtype = view.dtype(0)?;
    view.dtype_among(1, &[dtype])?;
    if view.has_input(2) {
        view.dtype_among(2, &[DType::I64])?;
    }
    Ok(Built::one(TensorScatter { axis, circular }, dtype))
}
