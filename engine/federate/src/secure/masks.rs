//! Owns the whole numbers that updates are summed as, and the streams that hide them.
//!
//! Refuses to know whose they are. Bound: one chunk of a stream besides the numbers.

use crate::error::{FederateError, field_error};
use crate::keystream::{KEY_BYTES, Keystream};

/// How a real number becomes a whole one mod 2^32, so that the sum over all clients does not pass
/// half of that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantiser {
    steps: f64,
    range: f64,
}

impl Quantiser {
    /// For so many clients and values of at most `range`; what is beyond is cut to it.
    pub fn new(range: f32, clients: usize) -> Self {
        let most = f64::from(i32::MAX) / clients.max(1) as f64;
        let range = f64::from(range);
        Self { steps: most.floor() / range, range }
    }

    /// The whole numbers of these values. They are rounded towards zero, so that an update does not
    /// become longer than it is.
    ///
    /// # Errors
    /// [`FederateError::Field`] names the first value that is not finite.
    pub fn whole(&self, values: &[f32]) -> Result<Vec<u32>, FederateError> {
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(field_error("value", format!("{} at {at}", values[at]), "a finite number"));
        }
        let whole = |value: &f32| {
            let value = f64::from(*value).clamp(-self.range, self.range);
            (value * self.steps) as i32 as u32
        };
        Ok(values.iter().map(whole).collect())
    }

    /// The real number of a sum.
    pub fn real(&self, sum: u32) -> f32 {
        (f64::from(sum as i32) / self.steps) as f32
    }
}

/// Whether a stream is added or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
}

impl Sign {
    /// How the first of a pair adds their stream; the other does the opposite.
    pub fn of_pair(own: u32, other: u32) -> Self {
        if own < other { Self::Plus } else { Self::Minus }
    }

    pub fn turned(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
        }
    }
}

/// Adds the stream of a seed to the numbers.
pub(super) fn add_stream(
    values: &mut [u32],
    seed: &[u8; KEY_BYTES],
    sign: Sign,
) -> Result<(), FederateError> {
    let mut stream = Keystream::new(seed)?;
    for value in values {
        let word = u32::from_le_bytes(stream.take()?);
        *value = match sign {
            Sign::Plus => value.wrapping_add(word),
            Sign::Minus => value.wrapping_sub(word),
        };
    }
    Ok(())
}
