//! Owns the change of type, value by value.
//!
//! Refuses to write floating-point numbers as text, for which every runtime has its own form.
//! Bound: one pass. Integers keep their low bits, floating-point numbers are cut towards 0.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Number, dtype_setting};
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
    /// As the widest integer; none for floating-point numbers and text of them.
    fn integer(&self) -> Option<i128>;
    /// As text.
    fn text(&self) -> String;
}

macro_rules! integers {
    ($($type:ty),*) => { $(impl Source for $type {
        fn float(&self) -> Result<f64, RunError> { Ok(*self as f64) }
        fn integer(&self) -> Option<i128> { Some(i128::from(*self)) }
        fn text(&self) -> String { self.to_string() }
    })* };
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! floats {
    ($($type:ty),*) => { $(impl Source for $type {
        fn float(&self) -> Result<f64, RunError> { Ok(Number::to_f64(*self)) }
        fn integer(&self) -> Option<i128> { None }
        // The builder has refused it.
        fn text(&self) -> String { self.to_string() }
    })* };
}

floats!(f32, f64, half::f16, half::bf16);

impl Source for bool {
    fn float(&self) -> Result<f64, RunError> {
        Ok(f64::from(u8::from(*self)))
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
        let wrong = |_| RunError::input(format_args!("the text {self:?}"), "a number");
        self.trim().parse().map_err(wrong)
    }

    fn integer(&self) -> Option<i128> {
        self.trim().parse().ok()
    }

    fn text(&self) -> String {
        self.clone()
    }
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
        Data::F32(out) => floats(from, out)?,
        Data::F64(out) => floats(from, out)?,
        Data::F16(out) => floats(from, out)?,
        Data::Bf16(out) => floats(from, out)?,
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

fn floats<S: Source, T: Number>(from: &[S], to: &mut [T]) -> Result<(), RunError> {
    for (to, value) in to.iter_mut().zip(from) {
        *to = T::from_f64(value.float()?);
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
