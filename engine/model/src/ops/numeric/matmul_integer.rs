//! Owns the products of stacks of quantised matrices: their sums, and those scaled to 8 bits.
//!
//! Refuses zero points and scales that are neither one nor one per row or column.
//! Bound: sums wrap in 32 bits, as ONNX allows.

use super::matmul::Stacks;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Float, Number, number_at};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family =
    &[("", "MatMulInteger", build_integer), ("", "QLinearMatMul", build_scaled)];

/// Which inputs of a node are what.
struct Places {
    left: usize,
    right: usize,
    left_zero: usize,
    right_zero: usize,
}

fn zero_point<T: Element + Copy + Into<i32>>(
    inputs: &Inputs<'_>,
    index: usize,
    count: usize,
) -> Result<impl Fn(usize) -> i32, RunError> {
    let values = match inputs.get(index) {
        None => &[][..],
        Some(_) => inputs.values::<T>(index)?.1,
    };
    if values.len() > 1 && values.len() != count {
        return Err(RunError::input(
            format_args!("{} zero points", values.len()),
            format_args!("1 or {count}"),
        ));
    }
    Ok(move |at: usize| match values {
        [] => 0,
        [one] => (*one).into(),
        many => many[at].into(),
    })
}

/// Writes the sums of products, each number less its zero point.
fn sums<A, B>(
    inputs: &Inputs<'_>,
    places: &Places,
    stacks: &Stacks,
    out: &mut [i32],
) -> Result<(), RunError>
where
    A: Element + Copy + Into<i32>,
    B: Element + Copy + Into<i32>,
{
    let (a, b) = (inputs.values::<A>(places.left)?.1, inputs.values::<B>(places.right)?.1);
    let by_row = zero_point::<A>(inputs, places.left_zero, stacks.rows)?;
    let by_column = zero_point::<B>(inputs, places.right_zero, stacks.columns)?;
    stacks.each(|left, right, start| {
        for row in 0..stacks.rows {
            for column in 0..stacks.columns {
                let mut sum = 0i32;
                for step in 0..stacks.depth {
                    let a: i32 = a[left + row * stacks.depth + step].into();
                    let b: i32 = b[right + step * stacks.columns + column].into();
                    sum = sum.wrapping_add((a - by_row(row)) * (b - by_column(column)));
                }
                out[start + row * stacks.columns + column] = sum;
            }
        }
    });
    Ok(())
}

/// As [`sums`], of inputs of any types of 8 bits.
fn sums_of_any(
    inputs: &Inputs<'_>,
    places: &Places,
    stacks: &Stacks,
    out: &mut [i32],
) -> Result<(), RunError> {
    match (inputs.need(places.left)?.dtype(), inputs.need(places.right)?.dtype()) {
        (DType::U8, DType::U8) => sums::<u8, u8>(inputs, places, stacks, out),
        (DType::U8, _) => sums::<u8, i8>(inputs, places, stacks, out),
        (_, DType::U8) => sums::<i8, u8>(inputs, places, stacks, out),
        _ => sums::<i8, i8>(inputs, places, stacks, out),
    }
}

/// The sums as they are.
#[derive(Debug)]
struct MatMulInteger;

impl Operator for MatMulInteger {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let stacks = Stacks::of(inputs.need(0)?.shape(), inputs.need(1)?.shape())?;
        let out = context.shape_as::<i32>(&mut outputs[0], &stacks.dims)?;
        sums_of_any(
            inputs,
            &Places { left: 0, right: 1, left_zero: 2, right_zero: 3 },
            &stacks,
            out,
        )
    }
}

fn build_integer(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    let bytes = [DType::I8, DType::U8];
    let types = (view.dtype_among(0, &bytes)?, view.dtype_among(1, &bytes)?);
    for (index, dtype) in [(2, types.0), (3, types.1)] {
        if view.has_input(index) {
            view.dtype_among(index, &[dtype])?;
        }
    }
    Ok(Built::one(MatMulInteger, DType::I32))
}

/// The sums scaled, and rounded to 8 bits.
#[derive(Debug)]
struct QLinearMatMul;

const LEFT: usize = 0;
const LEFT_SCALE: usize = 1;
const LEFT_ZERO: usize = 2;
const RIGHT: usize = 3;
const RIGHT_SCALE: usize = 4;
const RIGHT_ZERO: usize = 5;
const OUT_SCALE: usize = 6;
const OUT_ZERO: usize = 7;

/// What the sum of a row and a column is multiplied by, in the type of the scales.
fn factor<T: Float>(inputs: &Inputs<'_>, row: usize, column: usize) -> Result<f64, RunError> {
    let scale = |index: usize, at: usize| {
        let scales = inputs.values::<T>(index)?.1;
        Ok(scales[if scales.len() == 1 { 0 } else { at }].wide())
    };
    let product = T::narrow(scale(LEFT_SCALE, row)? * scale(RIGHT_SCALE, column)?);
    Ok(Number::to_f64(T::narrow(product.wide() / scale(OUT_SCALE, 0)?)))
}

impl Operator for QLinearMatMul {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let stacks = Stacks::of(inputs.need(LEFT)?.shape(), inputs.need(RIGHT)?.shape())?;
        let one_of = [
            (LEFT_SCALE, stacks.rows),
            (RIGHT_SCALE, stacks.columns),
            (OUT_SCALE, 1),
            (OUT_ZERO, 1),
        ];
        for (index, count) in one_of {
            let found = inputs.need(index)?;
            if found.count() != 1 && found.shape()[..] != [count] {
                let found = format_args!("input {index} of {}", found.shape()).to_string();
                return Err(RunError::input(found, format_args!("1 or {count}")));
            }
        }
        let dtype = outputs[0].dtype();
        context.shape(&mut outputs[0], dtype, &stacks.dims)?;
        let buffer = &mut context.scratch.i32s;
        buffer.clear();
        buffer.resize(outputs[0].count(), 0);
        let places =
            Places { left: LEFT, right: RIGHT, left_zero: LEFT_ZERO, right_zero: RIGHT_ZERO };
        sums_of_any(inputs, &places, &stacks, buffer)?;
        let zero = number_at(inputs.need(OUT_ZERO)?.data(), 0).unwrap_or(0.0);
        let scale = match inputs.need(OUT_SCALE)?.dtype() {
            DType::F16 => factor::<half::f16>,
            DType::Bf16 => factor::<half::bf16>,
            _ => factor::<f32>,
        };
        let (rows, columns) = (stacks.rows, stacks.columns);
        with_values!([I8, U8] outputs[0].data_mut(), out => {
            for (index, (out, sum)) in out.iter_mut().zip(buffer.iter()).enumerate() {
                let factor = scale(inputs, index / columns % rows, index % columns)?;
                let steps = (f64::from(*sum) * factor).round_ties_even();
                *out = Number::from_f64(steps + zero);
            }
            Ok(())
        }, else Err(RunError::input(dtype, "8 bits")))
    }
}

fn build_scaled(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    let bytes = [DType::I8, DType::U8];
    for (value, zero) in [(LEFT, LEFT_ZERO), (RIGHT, RIGHT_ZERO)] {
        let dtype = view.dtype_among(value, &bytes)?;
        view.dtype_among(zero, &[dtype])?;
    }
    let scale = view.dtype_among(LEFT_SCALE, &[DType::F32, DType::F16, DType::Bf16])?;
    for index in [RIGHT_SCALE, OUT_SCALE] {
        view.dtype_among(index, &[scale])?;
    }
    Ok(Built::one(QLinearMatMul, view.dtype_among(OUT_ZERO, &bytes)?))
}
