//! Owns powers, remainders and the operators on bits.
//!
//! Refuses types that an operator has no meaning for. Bound: one pass by strides; integers wrap
//! around, and what has no remainder is 0.

use std::fmt;

use half::{bf16, f16};

use super::walk::{broadcast, strides, walk};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Number, number_at};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Element, Tensor};

/// This family.
pub const OPERATORS: Family = &[
    ("", "Pow", power),
    ("", "Mod", remainder),
    ("", "BitShift", shift),
    ("", "BitwiseAnd", |view| bits(view, Bits::And)),
    ("", "BitwiseOr", |view| bits(view, Bits::Or)),
    ("", "BitwiseXor", |view| bits(view, Bits::Xor)),
];

#[derive(Clone, Copy)]
enum Bits {
    And,
    Or,
    Xor,
}

/// One function of two values of a type.
struct Pairs<T>(fn(&T, &T) -> T);

impl<T> fmt::Debug for Pairs<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pairs")
    }
}

impl<T: Element> Operator for Pairs<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let ((a_shape, a), (b_shape, b)) = (inputs.values::<T>(0)?, inputs.values::<T>(1)?);
        let dims = broadcast(&[a_shape, b_shape])?;
        let out = context.shape_as::<T>(&mut outputs[0], &dims)?;
        let strides = [a_shape, b_shape].map(|shape| strides(shape, dims.len()));
        walk(&dims, &strides, |at, [first, second]| out[at] = (self.0)(&a[first], &b[second]));
        Ok(())
    }
}

/// A base of one type to exponents of any.
struct Power<T>(fn(T, f64) -> T);

impl<T> fmt::Debug for Power<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Power")
    }
}

impl<T: Number> Operator for Power<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, values) = inputs.values::<T>(0)?;
        let exponents = inputs.need(1)?;
        let dims = broadcast(&[shape, exponents.shape()])?;
        let out = context.shape_as::<T>(&mut outputs[0], &dims)?;
        let strides = [shape, exponents.shape()].map(|shape| strides(shape, dims.len()));
        walk(&dims, &strides, |at, [first, second]| {
            let exponent = number_at(exponents.data(), second).unwrap_or(f64::NAN);
            out[at] = (self.0)(values[first], exponent);
        });
        Ok(())
    }
}

fn power(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    let exponent = view.dtype(1)?;
    if matches!(exponent, DType::Bool | DType::String) {
        return Err(view.refuse(format_args!("exponents of type {exponent}")));
    }
    macro_rules! integer {
        ($type:ty) => {
            Power::<$type>(|base, exponent| match exponent >= 0.0 && exponent.fract() == 0.0 {
                true => base.wrapping_pow(exponent as u32),
                false => Number::from_f64(Number::to_f64(base).powf(exponent)),
            })
        };
    }
    Ok(match view.dtype(0)? {
        DType::F32 => Built::one(
            Power::<f32>(|base, exponent| match exponent {
                2.0 => base * base,
                _ => base.powf(exponent as f32),
            }),
            DType::F32,
        ),
        DType::F64 => Built::one(Power::<f64>(f64::powf), DType::F64),
        DType::F16 => Built::one(
            Power::<f16>(|base, exponent| f16::from_f32(base.to_f32().powf(exponent as f32))),
            DType::F16,
        ),
        DType::Bf16 => Built::one(
            Power::<bf16>(|base, exponent| bf16::from_f32(base.to_f32().powf(exponent as f32))),
            DType::Bf16,
        ),
        DType::I32 => Built::one(integer!(i32), DType::I32),
        DType::I64 => Built::one(integer!(i64), DType::I64),
        other => return Err(view.refuse(format_args!("bases of type {other}"))),
    })
}

fn same_type(view: &NodeView<'_>) -> Result<DType, ModelError> {
    let dtype = view.dtype(0)?;
    view.dtype_among(1, &[dtype])
}

fn remainder(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["fmod"])?;
    let dtype = same_type(view)?;
    let as_c = match view.int_or("fmod", 0)? {
        0 => false,
        1 => true,
        other => return Err(view.refuse(format_args!("fmod {other}"))),
    };
    if dtype.is_float() && !as_c {
        return Err(view.refuse("remainders of floating-point numbers need fmod 1"));
    }
    macro_rules! integer {
        ($type:ty) => {{
            let with_sign_of_dividend: fn(&$type, &$type) -> $type =
                |a, b| a.checked_rem(*b).unwrap_or(0);
            let with_sign_of_divisor: fn(&$type, &$type) -> $type = |a, b| {
                let rest = a.checked_rem(*b).unwrap_or(0);
                // Both signs differ: one more divisor brings it to the other side.
                #[allow(unused_comparisons, reason = "also compiled for unsigned types")]
                let moved = rest != 0 && (rest < 0) != (*b < 0);
                if moved { rest.wrapping_add(*b) } else { rest }
            };
            Built::one(
                Pairs(if as_c { with_sign_of_dividend } else { with_sign_of_divisor }),
                dtype,
            )
        }};
    }
    Ok(match dtype {
        DType::F32 => Built::one(Pairs::<f32>(|a, b| a % b), dtype),
        DType::F64 => Built::one(Pairs::<f64>(|a, b| a % b), dtype),
        DType::F16 => Built::one(Pairs::<f16>(|a, b| *a % *b), dtype),
        DType::Bf16 => Built::one(Pairs::<bf16>(|a, b| *a % *b), dtype),
        DType::I8 => integer!(i8),
        DType::I16 => integer!(i16),
        DType::I32 => integer!(i32),
        DType::I64 => integer!(i64),
        DType::U8 => integer!(u8),
        DType::U16 => integer!(u16),
        DType::U32 => integer!(u32),
        DType::U64 => integer!(u64),
        other => return Err(view.refuse(format_args!("type {other} is not computed"))),
    })
}

fn shift(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["direction"])?;
    let dtype = same_type(view)?;
    let left = match view.string("direction")? {
        Some("LEFT") => true,
        Some("RIGHT") => false,
        other => return Err(view.refuse(format_args!("direction {other:?} is not known"))),
    };
    macro_rules! make {
        ($type:ty) => {{
            // Shifted by its width or more, nothing is left.
            let to_left: fn(&$type, &$type) -> $type =
                |a, b| a.checked_shl(u32::try_from(*b).unwrap_or(u32::MAX)).unwrap_or(0);
            let to_right: fn(&$type, &$type) -> $type =
                |a, b| a.checked_shr(u32::try_from(*b).unwrap_or(u32::MAX)).unwrap_or(0);
            Built::one(Pairs(if left { to_left } else { to_right }), dtype)
        }};
    }
    Ok(match dtype {
        DType::U8 => make!(u8),
        DType::U16 => make!(u16),
        DType::U32 => make!(u32),
        DType::U64 => make!(u64),
        other => return Err(view.refuse(format_args!("type {other} is not computed"))),
    })
}

fn bits(view: &NodeView<'_>, which: Bits) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    let dtype = same_type(view)?;
    macro_rules! make {
        ($type:ty) => {{
            let function: fn(&$type, &$type) -> $type = match which {
                Bits::And => |a, b| a & b,
                Bits::Or => |a, b| a | b,
                Bits::Xor => |a, b| a ^ b,
            };
            Built::one(Pairs(function), dtype)
        }};
    }
    Ok(match dtype {
        DType::I8 => make!(i8),
        DType::I16 => make!(i16),
        DType::I32 => make!(i32),
        DType::I64 => make!(i64),
        DType::U8 => make!(u8),
        DType::U16 => make!(u16),
        DType::U32 => make!(u32),
        DType::U64 => make!(u64),
        other => return Err(view.refuse(format_args!("type {other} is not computed"))),
    })
}
