//! Owns the settings of attention, and what its inputs must be.
//!
//! Refuses scores before a cap, on which the definition and its reference differ, and mixed types.
//! Bound: one node.

use super::bias::Reach;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::support::{allowed, dtype_setting};
use crate::tensor::DType;

/// The keys of the input.
pub const KEYS: usize = 1;
/// The values of the input.
pub const VALUES: usize = 2;
/// The keys of the cache.
pub const PAST_KEYS: usize = 4;
/// The values of the cache.
pub const PAST_VALUES: usize = 5;
const LENGTHS: usize = 6;

/// Which scores a node gives away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shown {
    /// After the cap, if there is one.
    Scores,
    /// With what is added to them.
    Biased,
    /// As shares.
    Shares,
}

/// What shares are computed in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Precision {
    /// 32 bits, or 64 where the inputs have them.
    Wide,
    /// The same, rounded to the type of the inputs at each step.
    Rounded,
    /// 64 bits.
    Widest,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Heads of queries, and of keys and values, for inputs of three dimensions; 0 where unsaid.
    pub heads: [usize; 2],
    /// What scores are multiplied by; by default one through the root of a vector's length.
    pub scale: Option<f32>,
    /// Scores stay within this of 0; 0 for none.
    pub cap: f32,
    /// Where queries look.
    pub reach: Reach,
    /// What the fourth output shows.
    pub shown: Shown,
    /// What shares are computed in.
    pub precision: Precision,
}

impl Settings {
    /// Of a node whose inputs are of a type.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`].
    pub fn read(view: &NodeView<'_>, dtype: DType) -> Result<Self, ModelError> {
        let since = |name, first| (name, first, u32::MAX);
        allowed(
            view,
            &[
                since("is_causal", 23),
                since("kv_num_heads", 23),
                since("left_window_size", 25),
                since("q_num_heads", 23),
                since("qk_matmul_output_mode", 23),
                since("right_window_size", 25),
                since("scale", 23),
                since("softcap", 23),
                since("softmax_precision", 23),
            ],
        )?;
        let count = |name: &str| {
            let value = view.int_or(name, 0)?;
            usize::try_from(value).map_err(|_| view.refuse(format_args!("`{name}` {value}")))
        };
        let heads = [count("q_num_heads")?, count("kv_num_heads")?];
        let (scale, cap) = (view.float("scale")?, view.float_or("softcap", 0.0)?);
        let window = |name: &str| match view.int_or(name, -1)? {
            -1 => Ok(None),
            size @ 0.. => Ok(Some(size)),
            other => Err(view.refuse(format_args!("`{name}` {other}"))),
        };
        let (back, ahead) = (window("left_window_size")?, window("right_window_size")?);
        let is_causal = view.int_or("is_causal", 0)? != 0;
        let reach = Reach { back, ahead: if is_causal { Some(0) } else { ahead } };
        let shown = match view.int_or("qk_matmul_output_mode", 0)? {
            0 if cap > 0.0 && view.has_output(3) => {
                return Err(view.refuse("scores before the cap are not given"));
            }
            0 | 1 => Shown::Scores,
            2 => Shown::Biased,
            3 => Shown::Shares,
            other => return Err(view.refuse(format_args!("`qk_matmul_output_mode` {other}"))),
        };
        let precision = precision(view, dtype)?;
        Ok(Self { heads, scale, cap, reach, shown, precision })
    }
}

fn precision(view: &NodeView<'_>, dtype: DType) -> Result<Precision, ModelError> {
    let is_half = matches!(dtype, DType::F16 | DType::Bf16);
    let own = if is_half { Precision::Rounded } else { Precision::Wide };
    Ok(match dtype_setting(view, "softmax_precision")? {
        None => own,
        Some(named) if named == dtype => own,
        Some(DType::F32) if is_half => Precision::Wide,
        Some(DType::F64) => Precision::Widest,
        Some(other) => return Err(view.refuse(format_args!("shares in {other} of {dtype}"))),
    })
}

/// Refuses inputs of mixed types and half a cache.
///
/// # Errors
/// [`ModelError::Unsupported`].
pub fn check_inputs(view: &NodeView<'_>, dtype: DType) -> Result<(), ModelError> {
    for index in [KEYS, VALUES, PAST_KEYS, PAST_VALUES] {
        if view.has_input(index) || index < PAST_KEYS {
            view.dtype_among(index, &[dtype])?;
        }
    }
    if view.has_input(3) {
        view.dtype_among(3, &[dtype, DType::Bool])?;
    }
    if view.has_input(LENGTHS) {
        view.dtype_among(LENGTHS, &[DType::I64])?;
    }
    let has_past = [PAST_KEYS, PAST_VALUES].map(|index| view.has_input(index));
    if has_past[0] != has_past[1] || (has_past[0] && view.has_input(LENGTHS)) {
        return Err(view.refuse("a cache has keys and values, and no lengths beside it"));
    }
    Ok(())
}
