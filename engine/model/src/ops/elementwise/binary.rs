//! Owns the operators of two tensors, and those that fold any number of them.
//!
//! Refuses types that an operator has no meaning for. Bound: one pass over each input.

use std::fmt;

use half::{bf16, f16};

use super::pairs::{Binary, by_type, same_type};
use super::walk::{broadcast, strides, walk};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::Number;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Shape, Tensor};

/// This family.
pub const OPERATORS: Family = &[
    ("", "Add", |view| arithmetic(view, Kind::Add)),
    ("", "Sub", |view| arithmetic(view, Kind::Sub)),
    ("", "Mul", |view| arithmetic(view, Kind::Mul)),
    ("", "Div", |view| arithmetic(view, Kind::Div)),
    ("", "Max", |view| folded(view, Kind::Max)),
    ("", "Min", |view| folded(view, Kind::Min)),
    ("", "Sum", |view| folded(view, Kind::Add)),
    ("", "Mean", |view| folded(view, Kind::Mean)),
    ("", "Equal", equal),
    ("", "Greater", |view| compared(view, Compare::Greater)),
    ("", "GreaterOrEqual", |view| compared(view, Compare::GreaterOrEqual)),
    ("", "Less", |view| compared(view, Compare::Less)),
    ("", "LessOrEqual", |view| compared(view, Compare::LessOrEqual)),
    ("", "And", |view| logical(view, |a, b| *a && *b)),
    ("", "Or", |view| logical(view, |a, b| *a || *b)),
    ("", "Xor", |view| logical(view, |a, b| a != b)),
    ("", "PRelu", prelu),
];

/// Which arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Mean,
}

/// Which comparison.
#[derive(Clone, Copy)]
enum Compare {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// Numbers with the arithmetic that ONNX gives them: integers wrap around.
trait Arithmetic: Number {
    fn add(a: &Self, b: &Self) -> Self;
    fn sub(a: &Self, b: &Self) -> Self;
    fn mul(a: &Self, b: &Self) -> Self;
    /// Integers are cut towards 0; what has no quotient is 0.
    fn div(a: &Self, b: &Self) -> Self;
    /// NaN where one of both is.
    fn max(a: &Self, b: &Self) -> Self;
    /// NaN where one of both is.
    fn min(a: &Self, b: &Self) -> Self;
}

macro_rules! integers {
    ($($type:ty),*) => { $(impl Arithmetic for $type {
        fn add(a: &Self, b: &Self) -> Self { a.wrapping_add(*b) }
        fn sub(a: &Self, b: &Self) -> Self { a.wrapping_sub(*b) }
        fn mul(a: &Self, b: &Self) -> Self { a.wrapping_mul(*b) }
        fn div(a: &Self, b: &Self) -> Self { if *b == 0 { 0 } else { a.wrapping_div(*b) } }
        fn max(a: &Self, b: &Self) -> Self { *a.max(b) }
        fn min(a: &Self, b: &Self) -> Self { *a.min(b) }
    })* };
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! floats {
    ($($type:ty),*) => { $(impl Arithmetic for $type {
        fn add(a: &Self, b: &Self) -> Self { *a + *b }
        fn sub(a: &Self, b: &Self) -> Self { *a - *b }
        fn mul(a: &Self, b: &Self) -> Self { *a * *b }
        fn div(a: &Self, b: &Self) -> Self { *a / *b }
        fn max(a: &Self, b: &Self) -> Self { if a.is_nan() || *a > *b { *a } else { *b } }
        fn min(a: &Self, b: &Self) -> Self { if a.is_nan() || *a < *b { *a } else { *b } }
    })* };
}

floats!(f32, f64, f16, bf16);

/// Any number of tensors, folded from the first to the last.
struct Folded<T> {
    function: fn(&T, &T) -> T,
    /// Divide by how many there are.
    mean: bool,
}

impl<T> fmt::Debug for Folded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folded").field("mean", &self.mean).finish()
    }
}

impl<T: Arithmetic> Operator for Folded<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let mut dims = broadcast(&[inputs.values::<T>(0)?.0])?;
        for index in 1..inputs.len() {
            let joined = Shape::new(&dims).unwrap_or_default();
            dims = broadcast(&[&joined, inputs.values::<T>(index)?.0])?;
        }
        let out = context.shape_as::<T>(&mut outputs[0], &dims)?;
        for index in 0..inputs.len() {
            let (shape, values) = inputs.values::<T>(index)?;
            let strides = [strides(shape, dims.len())];
            walk(&dims, &strides, |at, [place]| {
                let value = &values[place];
                out[at] = if index == 0 { *value } else { (self.function)(&out[at], value) };
            });
        }
        if self.mean {
            let count = T::from_f64(inputs.len() as f64);
            out.iter_mut().for_each(|value| *value = T::div(value, &count));
        }
        Ok(())
    }
}

fn arithmetic(view: &NodeView<'_>, kind: Kind) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    let dtype = same_type(view)?;
    if dtype == DType::F32 {
        // Closures of their own types, so that the loops are compiled for each.
        return Ok(match kind {
            Kind::Add => Binary::built(|a: &f32, b: &f32| a + b),
            Kind::Sub => Binary::built(|a: &f32, b: &f32| a - b),
            Kind::Mul => Binary::built(|a: &f32, b: &f32| a * b),
            _ => Binary::built(|a: &f32, b: &f32| a / b),
        });
    }
    macro_rules! make {
        ($type:ty) => {{
            let function: fn(&$type, &$type) -> $type = match kind {
                Kind::Add => Arithmetic::add,
                Kind::Sub => Arithmetic::sub,
                Kind::Mul => Arithmetic::mul,
                _ => Arithmetic::div,
            };
            Ok(Binary::built(function))
        }};
    }
    by_type!(view, dtype, make, [])
}

fn folded(view: &NodeView<'_>, kind: Kind) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    let dtype = view.dtype(0)?;
    for index in 0..view.input_count() {
        view.dtype_among(index, &[dtype])?;
    }
    if matches!(kind, Kind::Add | Kind::Mean) && !dtype.is_float() {
        return Err(view.refuse(format_args!("type {dtype} is not computed")));
    }
    macro_rules! make {
        ($type:ty) => {{
            let function: fn(&$type, &$type) -> $type = match kind {
                Kind::Max => Arithmetic::max,
                Kind::Min => Arithmetic::min,
                _ => Arithmetic::add,
            };
            Ok(Built::one(Folded { function, mean: kind == Kind::Mean }, dtype))
        }};
    }
    by_type!(view, dtype, make, [])
}

fn compared(view: &NodeView<'_>, compare: Compare) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    let dtype = same_type(view)?;
    macro_rules! make {
        ($type:ty) => {{
            let function: fn(&$type, &$type) -> bool = match compare {
                Compare::Greater => |a, b| a > b,
                Compare::GreaterOrEqual => |a, b| a >= b,
                Compare::Less => |a, b| a < b,
                Compare::LessOrEqual => |a, b| a <= b,
            };
            Ok(Binary::built(function))
        }};
    }
    by_type!(view, dtype, make, [])
}

fn equal(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    macro_rules! make {
        ($type:ty) => {
            Ok(Binary::built(<$type as PartialEq>::eq as fn(&$type, &$type) -> bool))
        };
    }
    let dtype = same_type(view)?;
    by_type!(view, dtype, make, [Bool: bool, String: String])
}

fn logical(view: &NodeView<'_>, function: fn(&bool, &bool) -> bool) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    match same_type(view)? {
        DType::Bool => Ok(Binary::built(function)),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}

fn prelu(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    if view.opset() < 7 {
        return Err(view.refuse("slopes by channel, of opsets below 7, are not computed"));
    }
    let dtype = same_type(view)?;
    macro_rules! make {
        ($type:ty) => {{
            let zero = <$type>::default();
            Ok(Binary::of_shape_of_first(
                move |x: &$type, slope: &$type| {
                    if *x < zero { Arithmetic::mul(x, slope) } else { *x }
                },
            ))
        }};
    }
    by_type!(view, dtype, make, [])
}
