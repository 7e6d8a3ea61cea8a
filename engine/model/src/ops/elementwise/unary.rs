//! Owns what is said of one value: its type kept, or a yes or no.
//!
//! Refuses types that an operator has no meaning for. Bound: one pass.

use std::fmt;

use half::{bf16, f16};

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[
    ("", "Abs", absolute),
    ("", "Neg", negated),
    ("", "Sign", sign),
    ("", "Not", not),
    ("", "BitwiseNot", bitwise_not),
    ("", "IsNaN", is_nan),
    ("", "IsInf", is_infinite),
    ("", "Identity", identity),
    ("", "Dropout", dropout),
];

/// One function applied to each value.
struct Map<T, U>(fn(&T) -> U);

impl<T, U> fmt::Debug for Map<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Map")
    }
}

impl<T: Element, U: Element> Operator for Map<T, U> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let out = context.shape_as::<U>(&mut outputs[0], shape)?;
        for (out, value) in out.iter_mut().zip(values) {
            *out = (self.0)(value);
        }
        Ok(())
    }
}

fn map<T: Element, U: Element>(function: fn(&T) -> U) -> Result<Built, ModelError> {
    Ok(Built::one(Map(function), U::DTYPE))
}

fn wrong_type(view: &NodeView<'_>, dtype: DType) -> Result<Built, ModelError> {
    Err(view.refuse(format_args!("type {dtype} is not computed")))
}

fn absolute(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    match view.dtype(0)? {
        DType::F32 => map(|x: &f32| x.abs()),
        DType::F64 => map(|x: &f64| x.abs()),
        DType::F16 => map(|x: &f16| f16::from_f32(x.to_f32().abs())),
        DType::Bf16 => map(|x: &bf16| bf16::from_f32(x.to_f32().abs())),
        DType::I8 => map(|x: &i8| x.wrapping_abs()),
        DType::I16 => map(|x: &i16| x.wrapping_abs()),
        DType::I32 => map(|x: &i32| x.wrapping_abs()),
        DType::I64 => map(|x: &i64| x.wrapping_abs()),
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => Ok(Built::one(Copy, view.dtype(0)?)),
        other => wrong_type(view, other),
    }
}

fn negated(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    match view.dtype(0)? {
        DType::F32 => map(|x: &f32| -x),
        DType::F64 => map(|x: &f64| -x),
        DType::F16 => map(|x: &f16| -*x),
        DType::Bf16 => map(|x: &bf16| -*x),
        DType::I8 => map(|x: &i8| x.wrapping_neg()),
        DType::I16 => map(|x: &i16| x.wrapping_neg()),
        DType::I32 => map(|x: &i32| x.wrapping_neg()),
        DType::I64 => map(|x: &i64| x.wrapping_neg()),
        other => wrong_type(view, other),
    }
}

fn sign(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    macro_rules! float {
        ($type:ty, $of:expr) => {
            map(|x: &$type| {
                let zero = $of(0.0);
                if *x > zero {
                    $of(1.0)
                } else if *x < zero {
                    $of(-1.0)
                } else if *x == zero {
                    zero
                } else {
                    *x
                }
            })
        };
    }
    match view.dtype(0)? {
        DType::F32 => float!(f32, |x: f32| x),
        DType::F64 => float!(f64, f64::from),
        DType::F16 => float!(f16, f16::from_f32),
        DType::Bf16 => float!(bf16, bf16::from_f32),
        DType::I8 => map(|x: &i8| x.signum()),
        DType::I16 => map(|x: &i16| x.signum()),
        DType::I32 => map(|x: &i32| x.signum()),
        DType::I64 => map(|x: &i64| x.signum()),
        DType::U8 => map(|x: &u8| (*x).min(1)),
        DType::U16 => map(|x: &u16| (*x).min(1)),
        DType::U32 => map(|x: &u32| (*x).min(1)),
        DType::U64 => map(|x: &u64| (*x).min(1)),
        other => wrong_type(view, other),
    }
}

fn not(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    match view.dtype(0)? {
        DType::Bool => map(|x: &bool| !x),
        other => wrong_type(view, other),
    }
}

fn bitwise_not(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    match view.dtype(0)? {
        DType::I8 => map(|x: &i8| !x),
        DType::I16 => map(|x: &i16| !x),
        DType::I32 => map(|x: &i32| !x),
        DType::I64 => map(|x: &i64| !x),
        DType::U8 => map(|x: &u8| !x),
        DType::U16 => map(|x: &u16| !x),
        DType::U32 => map(|x: &u32| !x),
        DType::U64 => map(|x: &u64| !x),
        other => wrong_type(view, other),
    }
}

fn is_nan(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    match view.dtype(0)? {
        DType::F32 => map(|x: &f32| x.is_nan()),
        DType::F64 => map(|x: &f64| x.is_nan()),
        DType::F16 => map(|x: &f16| x.is_nan()),
        DType::Bf16 => map(|x: &bf16| x.is_nan()),
        other => wrong_type(view, other),
    }
}

fn is_infinite(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["detect_negative", "detect_positive"])?;
    let negative = view.int_or("detect_negative", 1)? != 0;
    let positive = view.int_or("detect_positive", 1)? != 0;
    macro_rules! float {
        ($type:ty) => {
            match (negative, positive) {
                (true, true) => map(|x: &$type| x.is_infinite()),
                (true, false) => map(|x: &$type| *x == <$type>::NEG_INFINITY),
                (false, true) => map(|x: &$type| *x == <$type>::INFINITY),
                (false, false) => map(|_: &$type| false),
            }
        };
    }
    match view.dtype(0)? {
        DType::F32 => float!(f32),
        DType::F64 => float!(f64),
        DType::F16 => float!(f16),
        DType::Bf16 => float!(bf16),
        other => wrong_type(view, other),
    }
}

/// The values as they are.
#[derive(Debug)]
struct Copy;

impl Operator for Copy {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        context.shape(&mut outputs[0], input.dtype(), input.shape())?;
        copy(input, &mut outputs[0]);
        if let Some(mask) = outputs.get_mut(1) {
            context.shape_as::<bool>(mask, input.shape())?.fill(true);
        }
        Ok(())
    }
}

fn copy(from: &Tensor, to: &mut Tensor) {
    with_values!(from.data(), values => copy_values(values, to));
}

fn copy_values<T: Element>(from: &[T], to: &mut Tensor) {
    if let Some(to) = to.values_mut::<T>() {
        to.clone_from_slice(from);
    }
}

fn identity(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    Ok(Built::one(Copy, view.dtype(0)?))
}

/// Does nothing outside of training.
fn dropout(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["ratio", "seed"])?;
    let dtype = view.dtype(0)?;
    if !dtype.is_float() {
        return wrong_type(view, dtype);
    }
    if view.constant_values::<bool>(2)?.is_some_and(|training| training != [false]) {
        return Err(view.refuse("training is not done here"));
    }
    match view.has_output(1) {
        false => Ok(Built::one(Copy, dtype)),
        true if view.opset() >= 10 => Ok(Built::many(Copy, vec![dtype, DType::Bool])),
        true => Err(view.refuse("the mask of opsets below 10 is not computed")),
    }
}
