//! Owns sequences of numbers, and shapes and sizes as values.
//!
//! Refuses steps of 0. Bound: one pass over the result.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Number, allowed, number_at};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Data, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Range", range), ("", "Shape", shape), ("", "Size", size)];

/// From a start up to a limit, in steps.
#[derive(Debug)]
struct Range;

impl Range {
    /// Start, limit and step of whole numbers.
    fn whole(inputs: &Inputs<'_>) -> Result<[i64; 3], RunError> {
        let mut found = [0; 3];
        for (index, found) in found.iter_mut().enumerate() {
            let tensor = inputs.need(index)?;
            *found = match (tensor.count(), tensor.data()) {
                (1, Data::I64(values)) => values[0],
                (1, Data::I32(values)) => i64::from(values[0]),
                (1, Data::I16(values)) => i64::from(values[0]),
                _ => return Err(RunError::input(format!("{tensor:?}"), "one whole number")),
            };
        }
        Ok(found)
    }

    /// Start, limit and step of others.
    fn real(inputs: &Inputs<'_>) -> Result<[f64; 3], RunError> {
        let mut found = [0.0; 3];
        for (index, found) in found.iter_mut().enumerate() {
            let tensor = inputs.need(index)?;
            let value = number_at(tensor.data(), 0).filter(|_| tensor.count() == 1);
            *found = value
                .filter(|value| value.is_finite())
                .ok_or_else(|| RunError::input(format!("{tensor:?}"), "one finite number"))?;
        }
        Ok(found)
    }
}

impl Operator for Range {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let dtype = inputs.need(0)?.dtype();
        let output = &mut outputs[0];
        let no_step = || RunError::input("a step of 0", "another");
        if dtype.is_integer() {
            let [start, limit, step] = Self::whole(inputs)?;
            let distance = i128::from(limit) - i128::from(start);
            let step = i128::from(step);
            if step == 0 {
                return Err(no_step());
            }
            // Rounded up, of distance and step in the same direction.
            let count = (distance + step - step.signum()) / step;
            let count = if distance.signum() == step.signum() { count } else { 0 };
            context.shape(output, dtype, &[usize::try_from(count).unwrap_or(usize::MAX)])?;
            let value = |index: usize| (i128::from(start) + index as i128 * step) as i64;
            return with_values!([I16, I32, I64] output.data_mut(), out => {
                let places = out.iter_mut().enumerate();
                places.for_each(|(index, out)| *out = value(index) as _);
                Ok(())
            }, else Err(RunError::input(dtype, "a type that is counted in")));
        }
        let [start, limit, step] = Self::real(inputs)?;
        if step == 0.0 {
            return Err(no_step());
        }
        let count = ((limit - start) / step).ceil().max(0.0);
        context.shape(output, dtype, &[count as usize])?;
        with_values!([F32, F64, F16, Bf16] output.data_mut(), out => {
            for (index, out) in out.iter_mut().enumerate() {
                *out = Number::from_f64(start + index as f64 * step);
            }
            Ok(())
        }, else Err(RunError::input(dtype, "a type that is counted in")))
    }
}

fn range(view: &NodeView<'_>) -> Result<Built, ModelError> {
    allowed(view, &[("stash_type", 27, u32::MAX)])?;
    let mut known = vec![DType::F32, DType::F64, DType::I16, DType::I32, DType::I64];
    if view.opset() >= 27 {
        known.extend([DType::F16, DType::Bf16]);
    }
    let stash = view.int_or("stash_type", 1)?;
    if stash != 1 && stash != 11 {
        return Err(view.refuse(format_args!("`stash_type` {stash}")));
    }
    let dtype = view.dtype_among(0, &known)?;
    view.dtype_among(1, &[dtype])?;
    view.dtype_among(2, &[dtype])?;
    Ok(Built::one(Range, dtype))
}

/// The dimensions from a first up to a last, without the last.
#[derive(Debug)]
struct Dimensions {
    start: i64,
    end: i64,
}

impl Operator for Dimensions {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let shape = inputs.need(0)?.shape();
        let rank = shape.len() as i64;
        let place = |value: i64| {
            let from_end = if value < 0 { value.saturating_add(rank) } else { value };
            from_end.clamp(0, rank) as usize
        };
        let dims = shape.get(place(self.start)..place(self.end)).unwrap_or_default();
        let out = context.shape_as::<i64>(&mut outputs[0], &[dims.len()])?;
        out.iter_mut().zip(dims).for_each(|(out, dim)| *out = *dim as i64);
        Ok(())
    }
}

fn shape(view: &NodeView<'_>) -> Result<Built, ModelError> {
    allowed(view, &[("start", 15, u32::MAX), ("end", 15, u32::MAX)])?;
    view.dtype(0)?;
    let (start, end) = (view.int_or("start", 0)?, view.int_or("end", i64::MAX)?);
    Ok(Built::one(Dimensions { start, end }, DType::I64))
}

/// How many values there are.
#[derive(Debug)]
struct Size;

impl Operator for Size {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let count = inputs.need(0)?.count() as i64;
        context.shape_as::<i64>(&mut outputs[0], &[])?.fill(count);
        Ok(())
    }
}

fn size(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    view.dtype(0)?;
    Ok(Built::one(Size, DType::I64))
}
