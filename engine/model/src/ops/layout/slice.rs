//! Owns the operators that take parts of a tensor at even distances.
//!
//! Refuses steps of 0. Bound: one copy.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, View, allowed, check_axes, few_ints, unique_axes};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, RANK_MAX, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Slice", slice)];

/// From start to end, without the end, in steps, along axes.
#[derive(Debug)]
struct Slice {
    /// Starts, ends and axes where they are settings; inputs otherwise.
    given: Option<[Vec<i64>; 3]>,
}

/// The same, of one run.
struct Ranges {
    starts: Few<i64>,
    ends: Few<i64>,
    axes: Few<usize>,
    steps: Few<i64>,
}

impl Slice {
    fn ranges(&self, inputs: &Inputs<'_>, rank: usize) -> Result<Ranges, RunError> {
        let [starts, ends, axes, steps] = match &self.given {
            Some([starts, ends, axes]) => {
                let axes = if axes.is_empty() { None } else { Some(Few::of(axes)?) };
                [Some(Few::of(starts)?), Some(Few::of(ends)?), axes, None]
            }
            None => [
                few_ints(inputs, 1)?,
                few_ints(inputs, 2)?,
                few_ints(inputs, 3)?,
                few_ints(inputs, 4)?,
            ],
        };
        let (starts, ends) = (starts.unwrap_or_default(), ends.unwrap_or_default());
        let steps = match steps {
            Some(steps) => steps,
            None => Few::filled(1, starts.len())?,
        };
        let axes = match axes {
            Some(axes) => unique_axes(&axes, rank)?,
            None => {
                let mut axes = Few::<usize>::new();
                for axis in 0..starts.len().min(rank) {
                    axes.push(axis)?;
                }
                axes
            }
        };
        let count = starts.len();
        if [ends.len(), axes.len(), steps.len()] != [count; 3] || steps.contains(&0) {
            let found = format!("{count} starts, {} ends, {} axes", ends.len(), axes.len());
            return Err(RunError::input(found, "as many of each, and no step of 0"));
        }
        Ok(Ranges { starts, ends, axes, steps })
    }
}

/// Where a range begins and how many values it has.
fn range(start: i64, end: i64, step: i64, dim: usize) -> (usize, usize) {
    let (start, end) = (i128::from(start), i128::from(end));
    let (step, dim) = (i128::from(step), dim as i128);
    let from_end = |place: i128| if place < 0 { place + dim } else { place };
    // Backwards, the place before the first can only be named by one that is far enough.
    let (start, end) = match step > 0 {
        true => (from_end(start).clamp(0, dim), from_end(end).clamp(0, dim)),
        false => (from_end(start).clamp(0, (dim - 1).max(0)), from_end(end).clamp(-1, dim - 1)),
    };
    let distance = if step > 0 { end - start } else { start - end };
    let width = step.abs();
    let count = if distance > 0 && dim > 0 { (distance + width - 1) / width } else { 0 };
    (start as usize, count as usize)
}

impl Operator for Slice {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let (shape, strides) = (input.shape(), input.shape().strides());
        let ranges = self.ranges(inputs, shape.len())?;
        let mut dims = Few::of(shape)?;
        let mut view_strides = Few::of(&strides.map(|stride| stride as isize))?;
        let mut offset = 0usize;
        for (index, axis) in ranges.axes.iter().enumerate() {
            let step = ranges.steps[index];
            let (start, count) =
                range(ranges.starts[index], ranges.ends[index], step, shape[*axis]);
            dims[*axis] = count;
            offset = offset.wrapping_add(start.wrapping_mul(strides[*axis]));
            // A single value is never stepped from, however far a step would go.
            let stride = if count > 1 { step as isize } else { 0 };
            view_strides[*axis] = stride.wrapping_mul(strides[*axis] as isize);
        }
        let mut view = View::at(offset);
        for axis in 0..shape.len() {
            view.push(dims[axis], view_strides[axis])?;
        }
        with_values!(input.data(), values => {
            view.copy(values, context.shape_as(&mut outputs[0], &dims)?)
        })
    }
}

fn slice(view: &NodeView<'_>) -> Result<Built, ModelError> {
    allowed(view, &[("starts", 1, 9), ("ends", 1, 9), ("axes", 1, 9)])?;
    let given = match view.opset() {
        ..=9 => {
            let (Some(starts), Some(ends)) = (view.ints("starts")?, view.ints("ends")?) else {
                return Err(view.refuse("it has no `starts` or no `ends`"));
            };
            let axes = view.ints("axes")?.unwrap_or_default();
            check_axes(view, axes)?;
            if starts.len() > RANK_MAX || view.input_count() != 1 {
                return Err(view.refuse("it has more inputs or starts than this opset knows"));
            }
            Some([starts.to_vec(), ends.to_vec(), axes.to_vec()])
        }
        _ => {
            for index in 1..view.input_count().max(3) {
                if index < 3 || view.has_input(index) {
                    view.dtype_among(index, &[DType::I32, DType::I64])?;
                }
            }
            None
        }
    };
    Ok(Built::one(Slice { given }, view.dtype(0)?))
}
