//! Owns the way between numbers and their quantised form, `q = round(x / scale) + zero`.
//!
//! Refuses 4-bit and 8-bit floating-point forms. Bound: one pass.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

use super::lines::Lines;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Float, Number, axis, check_axes};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Shape, Tensor};

/// This family.
pub const OPERATORS: Family = &[
    ("", "QuantizeLinear", quantize),
    ("", "DequantizeLinear", dequantize),
    ("", "DynamicQuantizeLinear", dynamic),
];

struct Quantize<T, Q> {
    axis: i64,
    types: PhantomData<fn(T) -> Q>,
}

struct Dequantize<Q, T> {
    axis: i64,
    types: PhantomData<fn(Q) -> T>,
}

impl<T, Q> fmt::Debug for Quantize<T, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quantize")
    }
}

impl<Q, T> fmt::Debug for Dequantize<Q, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dequantize")
    }
}

/// Whether scales are one, or one for each step along an axis: the lines that they belong to.
fn lines(shape: &Shape, scales: usize, along: i64) -> Result<Lines, RunError> {
    if scales == 1 {
        return Ok(Lines { outer: 1, length: 1, inner: shape.count() });
    }
    let lines = Lines::along(shape, axis(along, shape.len())?);
    match lines.length == scales {
        true => Ok(lines),
        false => Err(RunError::input(format_args!("{scales} scales"), lines.length)),
    }
}

fn zeros<'a, Q: Element>(inputs: &Inputs<'a>, scales: usize) -> Result<&'a [Q], RunError> {
    let Some(_) = inputs.get(2) else { return Ok(&[]) };
    let zeros = inputs.values::<Q>(2)?.1;
    match zeros.len() == scales {
        true => Ok(zeros),
        false => Err(RunError::input(format_args!("{} zero points", zeros.len()), scales)),
    }
}

impl<T: Float, Q: Number> Operator for Quantize<T, Q> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let (scales_shape, scales) = inputs.values::<T>(1)?;
        if scales_shape.len() > 1 {
            return Err(RunError::input(format_args!("scales of {scales_shape}"), "one dimension"));
        }
        let (lines, zeros) =
            (lines(shape, scales.len(), self.axis)?, zeros::<Q>(inputs, scales.len())?);
        let out = context.shape_as::<Q>(&mut outputs[0], shape)?;
        let inner = lines.inner.max(1);
        let rows = out.chunks_exact_mut(inner).zip(values.chunks_exact(inner));
        for (index, (out, values)) in rows.enumerate() {
            let at = index % lines.length;
            let zero = zeros.get(at).map_or(0.0, |zero| zero.to_f64());
            let scale = scales[at].wide();
            for (out, value) in out.iter_mut().zip(values) {
                let steps = crate::ops::support::Wide::to_f64(value.wide() / scale);
                *out = Q::from_f64(steps.round_ties_even() + zero);
            }
        }
        Ok(())
    }
}

impl<Q: Number, T: Float> Operator for Dequantize<Q, T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<Q>(0)?;
        let (scales_shape, scales) = inputs.values::<T>(1)?;
        if scales_shape.len() > 1 {
            return Err(RunError::input(format_args!("scales of {scales_shape}"), "one dimension"));
        }
        let (lines, zeros) =
            (lines(shape, scales.len(), self.axis)?, zeros::<Q>(inputs, scales.len())?);
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        let inner = lines.inner.max(1);
        let rows = out.chunks_exact_mut(inner).zip(values.chunks_exact(inner));
        for (index, (out, values)) in rows.enumerate() {
            let at = index % lines.length;
            let zero = zeros.get(at).map_or(0.0, |zero| zero.to_f64());
            let scale = Number::to_f64(scales[at]);
            for (out, value) in out.iter_mut().zip(values) {
                *out = T::from_f64((value.to_f64() - zero) * scale);
            }
        }
        Ok(())
    }
}

/// The settings that both directions share: an axis, and no blocks.
fn along(view: &NodeView<'_>, known: &[&str]) -> Result<i64, ModelError> {
    view.only_attributes(known)?;
    if view.int_or("block_size", 0)? != 0 {
        return Err(view.refuse("scales by block are not computed"));
    }
    let axis = view.int_or("axis", 1)?;
    check_axes(view, &[axis])?;
    Ok(axis)
}

macro_rules! by_pair {
    ($view:expr, $float:expr, $whole:expr, $make:ident) => {
        match ($float, $whole) {
            (DType::F32, DType::U8) => $make!(f32, u8),
            (DType::F32, DType::I8) => $make!(f32, i8),
            (DType::F32, DType::U16) => $make!(f32, u16),
            (DType::F32, DType::I16) => $make!(f32, i16),
            (DType::F32, DType::I32) => $make!(f32, i32),
            (DType::F16, DType::U8) => $make!(f16, u8),
            (DType::F16, DType::I8) => $make!(f16, i8),
            (DType::Bf16, DType::U8) => $make!(bf16, u8),
            (DType::Bf16, DType::I8) => $make!(bf16, i8),
            (float, whole) => {
                Err($view.refuse(format_args!("types {float} and {whole} are not computed")))
            }
        }
    };
}

fn quantize(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let known = ["axis", "block_size", "output_dtype", "saturate", "precision"];
    let axis = along(view, &known)?;
    if view.int_or("precision", 0)? != 0 {
        return Err(view.refuse("a precision of its own is not computed"));
    }
    let float = view.dtype(0)?;
    view.dtype_among(1, &[float])?;
    let named = crate::ops::support::dtype_setting(view, "output_dtype")?;
    let whole = match (view.has_input(2), named) {
        (true, None) => view.dtype(2)?,
        (false, named) => named.unwrap_or(DType::U8),
        (true, Some(named)) => view.dtype_among(2, &[named])?,
    };
    if whole == DType::I32 {
        return Err(view.refuse("32 bits are not quantised to"));
    }
    macro_rules! make {
        ($float:ty, $whole:ty) => {
            Ok(Built::one(Quantize::<$float, $whole> { axis, types: PhantomData }, whole))
        };
    }
    by_pair!(view, float, whole, make)
}

fn dequantize(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let axis = along(view, &["axis", "block_size", "output_dtype"])?;
    let (whole, float) = (view.dtype(0)?, view.dtype(1)?);
    if view.has_input(2) {
        view.dtype_among(2, &[whole])?;
    }
    if crate::ops::support::dtype_setting(view, "output_dtype")?.is_some_and(|named| named != float)
    {
        return Err(view.refuse("an output type other than that of the scale is not computed"));
    }
    macro_rules! make {
        ($float:ty, $whole:ty) => {
            Ok(Built::one(Dequantize::<$whole, $float> { axis, types: PhantomData }, float))
        };
    }
    by_pair!(view, float, whole, make)
}

/// Quantises to 8 bits with a scale that spans the values and 0.
#[derive(Debug)]
struct Dynamic;

impl Operator for Dynamic {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<f32>(0)?;
        let [quantised, scale_out, zero_out] = outputs else { return Ok(()) };
        let low = values.iter().copied().fold(0.0, f32::min);
        let high = values.iter().copied().fold(0.0, f32::max);
        let span = (high - low) / 255.0;
        // Without any difference every value is the zero point, whatever the scale.
        let scale = if span > 0.0 { span } else { 1.0 };
        let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0);
        let out = context.shape_as::<u8>(quantised, shape)?;
        for (out, value) in out.iter_mut().zip(values) {
            *out = ((value / scale).round_ties_even() + zero).clamp(0.0, 255.0) as u8;
        }
        context.shape_as::<f32>(scale_out, &[])?.fill(span);
        context.shape_as::<u8>(zero_out, &[])?.fill(zero as u8);
        Ok(())
    }
}

fn dynamic(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    view.dtype_among(0, &[DType::F32])?;
    Ok(Built::many(Dynamic, vec![DType::U8, DType::F32, DType::U8]))
}
