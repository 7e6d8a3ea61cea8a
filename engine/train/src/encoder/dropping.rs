//! Owns which values of tokens are left out in a step.
//!
//! The way back asks again instead of keeping them: the numbers follow from the step, the place in
//! the encoder and the text. Refuses to know layers. Bound: one pass over the values.

use super::spec::EncoderSpec;
use crate::net::Dropping;
use crate::random::Random;

/// Numbers of one draw.
const DRAWN: usize = 4;
/// Keeps these random numbers apart from those of other layers.
const ENCODER: u64 = 1 << 32;

/// Leaves values of tokens of `hidden` numbers out, and multiplies the others so that the mean
/// stays. `site` is the place in the encoder; `offsets` are the texts.
pub(super) fn drop_out(
    spec: &EncoderSpec,
    dropping: Option<Dropping>,
    site: usize,
    offsets: &[u32],
    values: &mut [f32],
) {
    let Some(Dropping { seed, first_row }) = dropping.filter(|_| spec.dropout > 0.0) else {
        return;
    };
    let factor = 1.0 / (1.0 - spec.dropout);
    let bound = (f64::from(spec.dropout) * f64::from(1 << 16)).round() as u64;
    for (text, pair) in offsets.windows(2).enumerate() {
        let place = [ENCODER + site as u64, (first_row + text) as u64];
        let mut random = Random::of(seed, &place);
        let range = pair[0] as usize * spec.hidden..pair[1] as usize * spec.hidden;
        for part in values[range].chunks_mut(DRAWN) {
            let mut drawn = random.next();
            for value in part {
                *value *= if drawn & 0xffff < bound { 0.0 } else { factor };
                drawn >>= 16;
            }
        }
    }
}
