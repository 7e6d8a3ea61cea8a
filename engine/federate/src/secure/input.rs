//! Owns the way of an update into a masked body, as every client takes it.
//!
//! Refuses to know who trained. Bound: the values of one update, and as many whole numbers.

use super::client::SecureClient;
use super::masks::Quantiser;
use super::server::SealedShares;
use crate::codec::{Schema, encode_masked};
use crate::error::FederateError;
use crate::privacy::{clip_bit, clip_factor};

/// What the server says of the values of an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputBounds {
    /// The largest value; what is beyond is cut to it.
    pub range: f32,
    /// The length to which an update is shortened.
    pub clip_norm: Option<f64>,
    /// Whether it says if it was as short as that.
    pub has_clip_bit: bool,
}

impl SecureClient {
    /// The body of its update: shortened to the clip if there is one, rounded to whole numbers for
    /// values of at most the range, and hidden by masks with those whose shares these are. The bit
    /// is one more value, hidden like the others: the range for an update that was not shortened,
    /// its negative for one that was.
    ///
    /// # Errors
    /// [`FederateError::Field`] for a value that is not finite, and as [`SecureClient::mask`].
    pub fn masked_update(
        &mut self,
        shares: &SealedShares,
        InputBounds { range, clip_norm, has_clip_bit }: InputBounds,
        mut delta: Vec<f32>,
        (schema, base): (&Schema, u64),
    ) -> Result<Vec<u8>, FederateError> {
        let mut bit = None;
        if let Some(clip) = clip_norm {
            let square: f64 = delta.iter().map(|value| f64::from(*value).powi(2)).sum();
            let factor = clip_factor(square.sqrt(), clip);
            delta.iter_mut().for_each(|value| *value *= factor);
            let says = 2.0 * clip_bit(square.sqrt(), clip) as f32;
            bit = has_clip_bit.then_some(says * range);
        }
        let with_bit = bit.map(|_| schema.with_clip_bit()).transpose()?;
        delta.extend(bit);
        let mut whole = Quantiser::new(range, shares.len() + 1).whole(&delta)?;
        self.mask(shares, &mut whole)?;
        encode_masked(&whole, with_bit.as_ref().unwrap_or(schema), base)
    }
}
