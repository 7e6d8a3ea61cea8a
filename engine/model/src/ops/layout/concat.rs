//! Owns the operators that join tensors along an axis and cut them again.
//!
//! Refuses tensors that differ elsewhere. Bound: one copy.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, allowed, axis, check_axes, int_at};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Concat", concat), ("", "Split", split)];

/// Most outputs that one node cuts into.
const PART_COUNT_MAX: usize = 65_536;

/// Joined along an axis.
#[derive(Debug)]
struct Concat {
    axis: i64,
}

impl Operator for Concat {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let first = inputs.need(0)?;
        let axis = axis(self.axis, first.shape().len())?;
        let mut dims = Few::of(first.shape())?;
        for index in 1..inputs.len() {
            let shape = inputs.need(index)?.shape();
            let differs = shape.len() != dims.len()
                || (0..dims.len()).any(|place| place != axis && dims[place] != shape[place]);
            if differs {
                let wanted = format!("{} but for axis {axis}", first.shape());
                return Err(RunError::input(format_args!("input {index} of {shape}"), wanted));
            }
            let sum = dims[axis].checked_add(shape[axis]);
            dims[axis] = sum.ok_or_else(|| RunError::input("too many values", "fewer"))?;
        }
        with_values!(first.data(), values => {
            let out = context.shape_as(&mut outputs[0], &dims)?;
            join(inputs, axis, values.as_slice(), out)
        })
    }
}

/// `first` has the type of all inputs.
fn join<T: Element>(
    inputs: &Inputs<'_>,
    axis: usize,
    first: &[T],
    out: &mut [T],
) -> Result<(), RunError> {
    let outer: usize = inputs.need(0)?.shape()[..axis].iter().product();
    if outer == 0 || out.is_empty() {
        return Ok(());
    }
    let row = out.len() / outer;
    let mut start = 0;
    for index in 0..inputs.len() {
        let values = if index == 0 { first } else { inputs.values::<T>(index)?.1 };
        let width = values.len() / outer;
        if width > 0 {
            let rows = out.chunks_exact_mut(row).zip(values.chunks_exact(width));
            rows.for_each(|(out, part)| out[start..start + width].clone_from_slice(part));
        }
        start += width;
    }
    Ok(())
}

/// Cut along an axis.
#[derive(Debug)]
struct Split {
    axis: i64,
    parts: Parts,
}

/// How many values each part has along the axis.
#[derive(Debug)]
enum Parts {
    /// The same for all; must divide the dimension.
    Equal,
    /// The same for all but the last, which has what is left.
    LastSmaller,
    Given(Vec<i64>),
    /// By the second input.
    Input,
}

impl Split {
    fn width(&self, inputs: &Inputs<'_>, part: usize, of: (usize, usize)) -> Option<usize> {
        let (dim, count) = of;
        match &self.parts {
            Parts::Equal => dim.is_multiple_of(count).then_some(dim / count),
            Parts::LastSmaller => {
                let width = dim.div_ceil(count);
                let start = width.checked_mul(part)?;
                let last = part + 1 == count;
                // Parts in front of the last must be whole, else the division is not defined.
                let left = dim.checked_sub(start)?;
                if last { Some(left) } else { (left >= width).then_some(width) }
            }
            Parts::Given(widths) => usize::try_from(*widths.get(part)?).ok(),
            Parts::Input => {
                let tensor = inputs.get(1)?;
                (tensor.count() == count).then_some(())?;
                usize::try_from(int_at(tensor.data(), part)?).ok()
            }
        }
    }
}

impl Operator for Split {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let axis = axis(self.axis, input.shape().len())?;
        let mut dims = Few::of(input.shape())?;
        let (dim, count) = (dims[axis], outputs.len());
        let mut start = 0usize;
        let wrong =
            || RunError::input(format_args!("dimension {dim} in {count} parts"), "parts that fit");
        for part in 0..count {
            let width = self.width(inputs, part, (dim, count)).ok_or_else(wrong)?;
            start = start.checked_add(width).ok_or_else(wrong)?;
        }
        if start != dim {
            return Err(wrong());
        }
        let inner: usize = input.shape()[axis + 1..].iter().product();
        start = 0;
        for (part, output) in outputs.iter_mut().enumerate() {
            let width = self.width(inputs, part, (dim, count)).ok_or_else(wrong)?;
            dims[axis] = width;
            with_values!(input.data(), values => {
                let out = context.shape_as(output, &dims)?;
                if !out.is_empty() {
                    let rows = values.chunks_exact(dim * inner);
                    for (out, row) in out.chunks_exact_mut(width * inner).zip(rows) {
                        out.clone_from_slice(&row[start * inner..(start + width) * inner]);
                    }
                }
            });
            start += width;
        }
        Ok(())
    }
}

fn concat(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["axis"])?;
    let axis = view.int("axis")?.ok_or_else(|| view.refuse("it has no `axis`"))?;
    check_axes(view, &[axis])?;
    let dtype = view.dtype(0)?;
    for index in 1..view.input_count() {
        view.dtype_among(index, &[dtype])?;
    }
    Ok(Built::one(Concat { axis }, dtype))
}

fn split(view: &NodeView<'_>) -> Result<Built, ModelError> {
    allowed(view, &[("axis", 1, u32::MAX), ("split", 1, 12), ("num_outputs", 18, u32::MAX)])?;
    let axis = view.int_or("axis", 0)?;
    check_axes(view, &[axis])?;
    let (dtype, count) = (view.dtype(0)?, view.output_count());
    let wanted = view.int("num_outputs")?;
    if count == 0 || count > PART_COUNT_MAX || wanted.is_some_and(|wanted| wanted != count as i64) {
        return Err(view.refuse(format_args!("it has {count} outputs")));
    }
    let parts = match (view.ints("split")?, view.has_input(1)) {
        (Some(widths), false) if widths.len() == count => Parts::Given(widths.to_vec()),
        (Some(_), false) => return Err(view.refuse("`split` is not of its outputs")),
        (None, false) if wanted.is_some() => Parts::LastSmaller,
        (None, false) => Parts::Equal,
        (None, true) if view.opset() >= 13 && wanted.is_none() => {
            view.dtype_among(1, &[DType::I64])?;
            Parts::Input
        }
        _ => return Err(view.refuse("its parts are given in two ways")),
    };
    Ok(Built::many(Split { axis, parts }, vec![dtype; count]))
}
