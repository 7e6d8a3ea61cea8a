//! Owns the number types that operators compute in.
//!
//! Refuses text. Bound: 16-bit floats are computed in 32 bits and rounded once.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use half::{bf16, f16};

use crate::program::Scratch;
use crate::tensor::Element;

/// A type of numbers.
pub trait Number: Element + Copy + PartialOrd {
    /// In the widest floating-point type; 64-bit integers are rounded.
    fn to_f64(self) -> f64;
    /// Of the widest floating-point type; integers are cut and kept in their range.
    fn from_f64(value: f64) -> Self;
}

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Number for $type {
            fn to_f64(self) -> f64 {
                self as f64
            }

            fn from_f64(value: f64) -> Self {
                value as $type
            }
        })*
    };
}

/// Truths are 0 and 1.
impl Number for bool {
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }

    fn from_f64(value: f64) -> Self {
        value != 0.0
    }
}

numbers!(f32, f64, i8, i16, i32, i64, u8, u16, u32, u64);

/// Whether a value is no number; never for whole ones.
#[allow(clippy::eq_op, reason = "only what is not a number differs from itself")]
pub fn is_nan<T: Number>(value: T) -> bool {
    value != value
}

/// In 32 bits, rounded to the neighbour whose last bit is 1 unless it is exact. A further rounding
/// to 16 bits then gives what one rounding gives, which rounding to nearest twice does not
/// (Boldo and Melquiond, "Emulation of FMA and Correctly-Rounded Sums", 2008).
pub fn odd(value: f64) -> f32 {
    let near = value as f32;
    let back = f64::from(near);
    if back == value || near.is_nan() || near.to_bits() & 1 == 1 {
        return near;
    }
    // The bits of numbers of one sign are in the order of their sizes.
    let is_below = back.abs() < value.abs();
    f32::from_bits(if is_below { near.to_bits() + 1 } else { near.to_bits() - 1 })
}

/// Computes in a type of its own width or wider.
pub trait Float: Number {
    /// What it computes in.
    type Wide: Wide;
    /// In what it computes in.
    fn wide(self) -> Self::Wide;
    /// Rounded.
    fn narrow(value: Self::Wide) -> Self;
    /// The same values, where they are computed in their own type.
    fn as_wide(values: &[Self]) -> Option<&[Self::Wide]>;
    /// The same values, where they are computed in their own type.
    fn as_wide_mut(values: &mut [Self]) -> Option<&mut [Self::Wide]>;
}

macro_rules! halves {
    ($($type:ty),*) => {
        $(impl Number for $type {
            fn to_f64(self) -> f64 {
                f64::from(self)
            }

            fn from_f64(value: f64) -> Self {
                Self::from_f32(odd(value))
            }
        }

        impl Float for $type {
            type Wide = f32;

            fn wide(self) -> f32 {
                self.to_f32()
            }

            fn narrow(value: f32) -> Self {
                Self::from_f32(value)
            }

            fn as_wide(_values: &[Self]) -> Option<&[f32]> {
                None
            }

            fn as_wide_mut(_values: &mut [Self]) -> Option<&mut [f32]> {
                None
            }
        })*
    };
}

halves!(f16, bf16);

macro_rules! wides {
    ($($type:ident: $buffers:expr),*) => {
        $(impl Float for $type {
            type Wide = $type;

            fn wide(self) -> $type {
                self
            }

            fn narrow(value: $type) -> Self {
                value
            }

            fn as_wide(values: &[Self]) -> Option<&[$type]> {
                Some(values)
            }

            fn as_wide_mut(values: &mut [Self]) -> Option<&mut [$type]> {
                Some(values)
            }
        }

        impl Wide for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = $type::NEG_INFINITY;

            fn of(value: f64) -> Self {
                value as $type
            }

            fn to_f64(self) -> f64 {
                f64::from(self)
            }

            fn exp(self) -> Self {
                self.exp()
            }

            fn tanh(self) -> Self {
                self.tanh()
            }

            fn powf(self, power: Self) -> Self {
                self.powf(power)
            }

            fn abs(self) -> Self {
                self.abs()
            }

            fn is_nan(self) -> bool {
                self.is_nan()
            }

            fn buffers<'a>(
                scratch: &'a mut Scratch,
                own: &'a mut [Vec<Self>; BUFFER_COUNT],
            ) -> &'a mut [Vec<Self>; BUFFER_COUNT] {
                $buffers(scratch, own)
            }
        })*
    };
}

wides!(
    f32: |scratch: &'a mut Scratch, _own| &mut scratch.f32s,
    f64: |_scratch, own: &'a mut [Vec<f64>; BUFFER_COUNT]| own
);

/// What operators compute in: binary32 or binary64.
pub trait Wide:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + Sum
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Minus infinity.
    const LOWEST: Self;
    /// Rounded.
    fn of(value: f64) -> Self;
    /// In the widest type.
    fn to_f64(self) -> f64;
    /// e to this power.
    fn exp(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// To a power.
    fn powf(self, power: Self) -> Self;
    /// Without its sign.
    fn abs(self) -> Self;
    /// Whether it is no number.
    fn is_nan(self) -> bool;
    /// Buffers of this type: those of the context, or `own` where it has none.
    fn buffers<'a>(
        scratch: &'a mut Scratch,
        own: &'a mut [Vec<Self>; BUFFER_COUNT],
    ) -> &'a mut [Vec<Self>; BUFFER_COUNT];
}

/// How many [`Wide::buffers`] there are.
pub const BUFFER_COUNT: usize = 4;
