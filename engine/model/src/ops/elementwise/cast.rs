//! Owns the change of type, value by value.
//!
//! Refuses to write floating-point numbers as text, for which every runtime has its own form.
//! Bound: one pass. Integers keep their low bits, floating-point numbers are cut towards 0, and
//! what becomes one is rounded once.

use std::str::FromStr;

use half::{bf16, f16};

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Number, dtype_setting, odd};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Data, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Cast", cast), ("", "CastLike", cast_like)];

#[derive(Debug)]
struct Cast(DType);

/// A value that can become a number or a truth.
trait Source: Element {
    /// As the widest floating-point number.
    fn float(&self) -> Result<f64, RunError>;
    /// Rounded to 32 bits, once.
    fn narrow(&self) -> Result<f32, RunError>;
    /// In 32 bits, so that a further rounding is the only one; see [`odd`].
    fn sticky(&self) -> Result<f32, RunError>;
    /// As the widest integer; none for floating-point numbers and text of them.
    fn integer(&self) -> Option<i128>;
    /// As text.
    fn text(&self) -> String;
}

macro_rules! integers {
    ($($type:ty),*) => { $(impl Source for $type {
        fn float(&self) -> Result<f64, RunError> { Ok(*self as f64) }
        fn narrow(&self) -> Result<f32, RunError> { Ok(*self as f32) }
        fn sticky(&self) -> Result<f32, RunError> { Ok(odd_whole(i128::from(*self))) }
        fn integer(&self) -> Option<i128> { Some(i128::from(*self)) }
        fn text(&self) -> String { self.to_string() }
    })* };
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! floats {
    ($($type:ty),*) => { $(impl Source for $type {
        fn float(&self) -> Result<f64, RunError> { Ok(Number::to_f64(*self)) }
        fn narrow(&self) -> Result<f32, RunError> { Ok(Number::to_f64(*self) as f32) }
        fn sticky(&self) -> Result<f32, RunError> { Ok(odd(Number::to_f64(*self))) }
        fn integer(&self) -> Option<i128> { None }
        // The builder has refused it.
        fn text(&self) -> String { self.to_string() }
    })* };
}

floats!(f32, f64, f16, bf16);

impl Source for bool {
    fn float(&self) -> Result<f64, RunError> {
        Ok(f64::from(u8::from(*self)))
    }

    fn narrow(&self) -> Result<f32, RunError> {
        Ok(f32::from(u8::from(*self)))
    }

    fn sticky(&self) -> Result<f32, RunError> {
        self.narrow()
    }

    fn integer(&self) -> Option<i128> {
        Some(i128::from(*self))
    }

    fn text(&self) -> String {
        if *self { "True" } else { "False" }.to_owned()
    }
}

impl Source for String {
    fn float(&self) -> Result<f64, RunError> {
        number(self)
    }

    fn narrow(&self) -> Result<f32, RunError> {
        number(self)
    }

    fn sticky(&self) -> Result<f32, RunError> {
        self.float().map(odd)
    }

    fn integer(&self) -> Option<i128> {
        self.trim().parse().ok()
    }

    fn text(&self) -> String {
        self.clone()
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, RunError> {
    let wrong = |_| RunError::input(format_args!("the text {text:?}"), "a number");
    text.trim().parse().map_err(wrong)
}

/// As [`odd`], of a whole number.
fn odd_whole(value: i128) -> f32 {
    // The bits below those that 64-bit floating-point numbers hold only matter by being there.
    let extra = (128 - value.unsigned_abs().leading_zeros()).saturating_sub(53);
    let cut = value >> extra << extra;
    let is_exact = cut == value;
    odd(if is_exact { value as f64 } else { (cut | 1 << extra) as f64 })
}

impl Operator for Cast {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        context.shape(&mut outputs[0], self.0, input.shape())?;
        let out = outputs[0].data_mut();
        with_values!(input.data(), values => convert(values, out))
    }
}

fn convert<S: Source>(from: &[S], to: &mut Data) -> Result<(), RunError> {
    macro_rules! integers {
        ($out:ident, $type:ty) => {
            for (out, value) in $out.iter_mut().zip(from) {
                *out = match value.integer() {
                    Some(whole) => whole as $type,
                    None => value.float()? as $type,
                };
            }
        };
    }
    match to {
        Data::I8(out) => integers!(out, i8),
        Data::I16(out) => integers!(out, i16),
        Data::I32(out) => integers!(out, i32),
        Data::I64(out) => integers!(out, i64),
        Data::U8(out) => integers!(out, u8),
        Data::U16(out) => integers!(out, u16),
        Data::U32(out) => integers!(out, u32),
        Data::U64(out) => integers!(out, u64),
        Data::F32(out) => floats(from, out, S::narrow)?,
        Data::F64(out) => floats(from, out, S::float)?,
        Data::F16(out) => floats(from, out, |value| value.sticky().map(f16::from_f32))?,
        Data::Bf16(out) => floats(from, out, |value| value.sticky().map(bf16::from_f32))?,
        Data::Bool(out) => {
            for (out, value) in out.iter_mut().zip(from) {
                *out = value.float()? != 0.0;
            }
        }
        Data::String(out) => {
            for (out, value) in out.iter_mut().zip(from) {
                *out = value.text();
            }
        }
    }
    Ok(())
}

fn floats<S, T>(
    from: &[S],
    to: &mut [T],
    convert: impl Fn(&S) -> Result<T, RunError>,
) -> Result<(), RunError> {
    for (to, value) in to.iter_mut().zip(from) {
        *to = convert(value)?;
    }
    Ok(())
}

fn build(view: &NodeView<'_>, to: DType) -> Result<Built, ModelError> {
    let from = view.dtype(0)?;
    if from.is_float() && to == DType::String {
        return Err(view.refuse("floating-point numbers are not written as text"));
    }
    if from == DType::String && matches!(to, DType::Bool | DType::F16 | DType::Bf16) {
        return Err(view.refuse(format_args!("text is not read as {to}")));
    }
    Ok(Built::one(Cast(to), to))
}

fn cast(view: &NodeView<'_>) -> Result<Built, ModelError> {
    // Both others only matter to types that are not known here.
    view.only_attributes(&["to", "saturate", "round_mode"])?;
    match dtype_setting(view, "to")? {
        Some(to) => build(view, to),
        None => Err(view.refuse("attribute `to` is missing")),
    }
}

fn cast_like(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["saturate", "round_mode"])?;
    build(view, view.dtype(1)?)
}
