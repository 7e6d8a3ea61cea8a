//! Owns powers, remainders and the operators on bits.
//!
//! Refuses types that an operator has no meaning for. Bound: one pass by strides; integers wrap
//! around, and what has no remainder is 0.

use std::fmt;

use half::{bf16, f16};

use super::pairs::{Binary, same_type};
use super::walk::{broadcast, strides, walk};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Number, number_at, whole_at};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Data, Tensor};

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

/// An exponent, as wide as its type.
#[derive(Clone, Copy)]
enum Exponent {
    Whole(i128),
    Real(f64),
}

impl Exponent {
    /// A value of a tensor of numbers; exponents of 0 beyond its end.
    fn at(data: &Data, index: usize) -> Self {
        match whole_at(data, index) {
            Some(whole) => Self::Whole(whole),
            None => Self::Real(number_at(data, index).unwrap_or(0.0)),
        }
    }

    fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }

    /// The whole number that it is, kept in 64 bits; none for all others.
    fn whole(self) -> Option<i64> {
        match self {
            Self::Whole(whole) => Some(kept(whole)),
            // From 2^115 on all are multiples of 2^62.
            Self::Real(real) if real.fract() == 0.0 => {
                let far = 2f64.powi(120);
                Some(kept(real.clamp(-far, far) as i128))
            }
            Self::Real(_) => None,
        }
    }
}

/// An exponent of the same effect in 64 bits: modulo 2^64 the powers of odd numbers repeat after
/// 2^62, and those of even ones are 0 by then.
fn kept(exponent: i128) -> i64 {
    const REPEAT: i128 = 1 << 62;
    match exponent.abs() < REPEAT {
        true => exponent as i64,
        false => (exponent % REPEAT + exponent.signum() * REPEAT) as i64,
    }
}

/// A base of one type to exponents of any.
struct Power<T>(fn(T, Exponent) -> T);

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
            out[at] = (self.0)(values[first], Exponent::at(exponents.data(), second));
        });
        Ok(())
    }
}

/// A power modulo 2^64, by squaring. What has no whole power, and 0 to a negative one, is 0.
fn whole_power(base: i64, exponent: i64) -> i64 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 if exponent % 2 != 0 => -1,
            -1 => 1,
            _ => 0,
        };
    }
    let (mut power, mut square, mut rest) = (1i64, base, exponent);
    while rest > 0 {
        if rest % 2 == 1 {
            power = power.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        rest /= 2;
    }
    power
}

fn power(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[])?;
    let exponent = view.dtype(1)?;
    if matches!(exponent, DType::Bool | DType::String) {
        return Err(view.refuse(format_args!("exponents of type {exponent}")));
    }
    macro_rules! integer {
        ($type:ty) => {
            Power::<$type>(|base, exponent| match exponent.whole() {
                Some(whole) => whole_power(i64::from(base), whole) as $type,
                None => Number::from_f64(Number::to_f64(base).powf(exponent.real())),
            })
        };
    }
    macro_rules! half {
        ($type:ty) => {
            Power::<$type>(|base, exponent| {
                <$type>::from_f32(base.to_f32().powf(exponent.real() as f32))
            })
        };
    }
    Ok(match view.dtype(0)? {
        DType::F32 => Built::one(
            Power::<f32>(|base, exponent| match exponent.real() {
                2.0 => base * base,
                exponent => base.powf(exponent as f32),
            }),
            DType::F32,
        ),
        DType::F64 => {
            Built::one(Power::<f64>(|base, exponent| base.powf(exponent.real())), DType::F64)
        }
        DType::F16 => Built::one(half!(f16), DType::F16),
        DType::Bf16 => Built::one(half!(bf16), DType::Bf16),
        DType::I32 => Built::one(integer!(i32), DType::I32),
        DType::I64 => Built::one(integer!(i64), DType::I64),
        other => return Err(view.refuse(format_args!("bases of type {other}"))),
    })
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
            Binary::built(if as_c { with_sign_of_dividend } else { with_sign_of_divisor })
        }};
    }
    Ok(match dtype {
        DType::F32 => Binary::built(|a: &f32, b: &f32| a % b),
        DType::F64 => Binary::built(|a: &f64, b: &f64| a % b),
        DType::F16 => Binary::built(|a: &f16, b: &f16| *a % *b),
        DType::Bf16 => Binary::built(|a: &bf16, b: &bf16| *a % *b),
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
            Binary::built(if left { to_left } else { to_right })
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
            Binary::built(function)
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
