//! Owns what turns scores along an axis into shares, and running sums and products.
//!
//! Refuses integers where shares are made. Bound: three passes over a line; f32 along the last axis
//! runs in the kernels.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

use super::lines::Lines;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::softmax_rows;
use crate::ops::registry::Family;
use crate::ops::support::{Float, Number, axis, axis_or_end, check_axes, one_int};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family = &[
    ("", "Softmax", |view| shares(view, Kind::Softmax)),
    ("", "LogSoftmax", |view| shares(view, Kind::LogSoftmax)),
    ("", "Hardmax", |view| shares(view, Kind::Hardmax)),
    ("", "CumSum", |view| cumulative(view, false)),
    ("", "CumProd", |view| cumulative(view, true)),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Softmax,
    LogSoftmax,
    Hardmax,
}

struct Shares<T> {
    kind: Kind,
    axis: i64,
    /// Before opset 13 the axis and all after it are one line.
    flattened: bool,
    elements: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Shares<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<T: Float> Operator for Shares<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let lines = match self.flattened {
            true => Lines::from(shape, axis_or_end(self.axis, shape.len())?),
            false => Lines::along(shape, axis(self.axis, shape.len())?),
        };
        let isa = context.isa;
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        out.copy_from_slice(values);
        if self.kind == Kind::Softmax && lines.inner == 1 && T::DTYPE == DType::F32 {
            if let Some(out) = outputs[0].values_mut::<f32>() {
                softmax_rows(isa, out, lines.length);
            }
            return Ok(());
        }
        for start in lines.starts() {
            self.line(out, lines, start);
        }
        Ok(())
    }
}

impl<T: Float> Shares<T> {
    fn line(&self, out: &mut [T], lines: Lines, start: usize) {
        let number = |out: &[T], at: usize| Number::to_f64(out[at]);
        let mut largest = f64::NEG_INFINITY;
        let mut first = None;
        for at in lines.places(start) {
            let value = number(out, at);
            // What is no number counts as the largest, so that all of the line becomes none.
            if first.is_none() || value > largest || (value.is_nan() && !largest.is_nan()) {
                (largest, first) = (value, Some(at));
            }
        }
        if self.kind == Kind::Hardmax {
            for at in lines.places(start) {
                out[at] = T::from_f64(f64::from(u8::from(Some(at) == first)));
            }
            return;
        }
        // 16-bit types are rounded after every step, as the definition in ONNX's own functions is.
        let round = |value: f64| Number::to_f64(T::from_f64(value));
        let power = |out: &[T], at: usize| round(round(number(out, at) - largest).exp());
        let powers = lines.places(start).map(|at| power(out, at));
        let sum = match T::DTYPE {
            // The reference rounds the sum after each step.
            DType::Bf16 => powers.fold(0.0, |sum, power| round(sum + power)),
            _ => round(powers.sum()),
        };
        for at in lines.places(start) {
            out[at] = T::from_f64(match self.kind {
                Kind::LogSoftmax => round(number(out, at) - largest) - sum.ln(),
                _ => power(out, at) / sum,
            });
        }
    }
}

fn shares(view: &NodeView<'_>, kind: Kind) -> Result<Built, ModelError> {
    view.only_attributes(&["axis"])?;
    let flattened = view.opset() < 13;
    let axis = view.int_or("axis", if flattened { 1 } else { -1 })?;
    check_axes(view, &[axis])?;
    let dtype = view.dtype(0)?;
    macro_rules! make {
        ($type:ty) => {{
            let elements = PhantomData;
            Ok(Built::one(Shares::<$type> { kind, axis, flattened, elements }, dtype))
        }};
    }
    match dtype {
        DType::F32 => make!(f32),
        DType::F64 => make!(f64),
        DType::F16 => make!(f16),
        DType::Bf16 => make!(bf16),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}

struct Cumulative<T> {
    join: fn(T, T) -> T,
    /// What is joined with nothing before it.
    first: T,
    exclusive: bool,
    reverse: bool,
}

impl<T> fmt::Debug for Cumulative<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cumulative")
    }
}

impl<T: Number> Operator for Cumulative<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let missing = || RunError::input("no axis", "one");
        let along = one_int(inputs, 1)?.ok_or_else(missing)?;
        let lines = Lines::along(shape, axis(along, shape.len())?);
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        for start in lines.starts() {
            let mut sum = self.first;
            for step in 0..lines.length {
                let step = if self.reverse { lines.length - 1 - step } else { step };
                let at = start + step * lines.inner;
                let with = (self.join)(sum, values[at]);
                out[at] = if self.exclusive { sum } else { with };
                sum = with;
            }
        }
        Ok(())
    }
}

fn cumulative(view: &NodeView<'_>, is_product: bool) -> Result<Built, ModelError> {
    view.only_attributes(&["exclusive", "reverse"])?;
    view.dtype_among(1, &[DType::I32, DType::I64])?;
    let exclusive = view.int_or("exclusive", 0)? != 0;
    let reverse = view.int_or("reverse", 0)? != 0;
    let dtype = view.dtype(0)?;
    macro_rules! make {
        ($type:ty, $add:expr, $multiply:expr) => {{
            let join: fn($type, $type) -> $type = if is_product { $multiply } else { $add };
            let first = <$type as Number>::from_f64(f64::from(u8::from(is_product)));
            Ok(Built::one(Cumulative { join, first, exclusive, reverse }, dtype))
        }};
    }
    match dtype {
        DType::F32 => make!(f32, |a, b| a + b, |a, b| a * b),
        DType::F64 => make!(f64, |a, b| a + b, |a, b| a * b),
        DType::I32 => make!(i32, i32::wrapping_add, i32::wrapping_mul),
        DType::I64 => make!(i64, i64::wrapping_add, i64::wrapping_mul),
        DType::U32 => make!(u32, u32::wrapping_add, u32::wrapping_mul),
        DType::U64 => make!(u64, u64::wrapping_add, u64::wrapping_mul),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}
