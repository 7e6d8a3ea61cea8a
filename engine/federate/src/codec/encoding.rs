//! Owns the ways of writing an update, by name.
//!
//! Refuses to know bytes. Bound: the share of kept values is above 0 and at most 1.

use std::fmt;
use std::str::FromStr;

use crate::error::{FederateError, field_error};

/// How one value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Four bytes.
    F32,
    /// Two bytes, ten bits of fraction, up to 65,504.
    F16,
    /// Two bytes, seven bits of fraction, the range of f32.
    Bf16,
    /// One byte, times the scale of its block of so many values.
    Int8 {
        /// Values of one block, [`Number::BLOCKS`].
        block: usize,
    },
}

impl Number {
    /// How large a block may be.
    pub const BLOCKS: std::ops::RangeInclusive<usize> = 16..=65_536;
    /// The usual block.
    pub const BLOCK: usize = 256;
}

/// How an update is written: which values, and how each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encoding {
    /// The share of each tensor's values that is sent, the largest ones; none for all of them.
    pub share: Option<f64>,
    /// How each is written.
    pub number: Number,
}

impl Encoding {
    /// Every value as it is.
    pub const DENSE: Self = Self { share: None, number: Number::F32 };
}

impl FromStr for Encoding {
    type Err = FederateError;

    /// Reads `f32`, `f16`, `bf16` or `int8`, and before it `top-SHARE-`, as in `top-0.01-int8`.
    fn from_str(text: &str) -> Result<Self, FederateError> {
        let wrong = || {
            field_error(
                "encoding",
                format!("`{text}`"),
                "f32, f16, bf16 or int8, alone or as top-0.01-int8",
            )
        };
        let (share, number) = match text.strip_prefix("top-") {
            None => (None, text),
            Some(rest) => {
                let (share, number) = rest.rsplit_once('-').ok_or_else(wrong)?;
                let share: f64 = share.parse().map_err(|_| wrong())?;
                if !(share > 0.0 && share <= 1.0) {
                    return Err(wrong());
                }
                (Some(share), number)
            }
        };
        let number = match number {
            "f32" => Number::F32,
            "f16" => Number::F16,
            "bf16" => Number::Bf16,
            "int8" => Number::Int8 { block: Number::BLOCK },
            _ => return Err(wrong()),
        };
        Ok(Self { share, number })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(share) = self.share {
            write!(f, "top-{share}-")?;
        }
        f.write_str(match self.number {
            Number::F32 => "f32",
            Number::F16 => "f16",
            Number::Bf16 => "bf16",
            Number::Int8 { .. } => "int8",
        })
    }
}
