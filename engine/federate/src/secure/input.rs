//! Owns the way of an update into a masked body, as every client takes it.
//!
//! Refuses to know who trained. Bound: the values of one update, and as many whole numbers.

use super::client::SecureClient;
use super::masks::Quantiser;
use super::server::SealedShares;
use crate::codec::{Schema, encode_masked};
use crate::error::FederateError;
use crate::privacy::clip_factor;

impl SecureClient {
    /// The body of its update: shortened to the clip if there is one, rounded to whole numbers for
    /// values of at most `range`, and hidden by masks with those whose shares these are.
    ///
    /// # Errors
    /// [`FederateError::Field`] for a value that is not finite, and as [`SecureClient::mask`].
    pub fn masked_update(
        &mut self,
        shares: &SealedShares,
        (range, clip_norm): (f32, Option<f64>),
        mut delta: Vec<f32>,
        (schema, base): (&Schema, u64),
    ) -> Result<Vec<u8>, FederateError> {
        if let Some(clip) = clip_norm {
            let square: f64 = delta.iter().map(|value| f64::from(*value).powi(2)).sum();
            let factor = clip_factor(square.sqrt(), clip);
            delta.iter_mut().for_each(|value| *value *= factor);
        }
        let mut whole = Quantiser::new(range, shares.len() + 1).whole(&delta)?;
        self.mask(shares, &mut whole)?;
        encode_masked(&whole, schema, base)
    }
}
