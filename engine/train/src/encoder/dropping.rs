//! Owns which values of tokens, and which shares of attention, are left out in a step.
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
/// Keeps those of attention apart from those of values.
const ATTENTION: u64 = 1 << 33;

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
    for (text, pair) in offsets.windows(2).enumerate() {
        let place = [ENCODER + site as u64, (first_row + text) as u64];
        let range = pair[0] as usize * spec.hidden..pair[1] as usize * spec.hidden;
        leave_out(spec.dropout, Random::of(seed, &place), &mut values[range]);
    }
}

/// Which shares of attention a layer leaves out.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShareDropping {
    /// The share that is left out, above 0.
    rate: f32,
    dropping: Dropping,
    layer: usize,
}

impl ShareDropping {
    /// Of a layer; none where nothing is left out.
    pub(super) fn of(spec: &EncoderSpec, dropping: Option<Dropping>, layer: usize) -> Option<Self> {
        let rate = spec.attention_dropout;
        let dropping = dropping.filter(|_| rate > 0.0)?;
        Some(Self { rate, dropping, layer })
    }

    /// Leaves out shares of one head of one text, or gradients of them, as
    /// [`drop_out`] does values.
    pub(super) fn drop_out(&self, text: usize, head: usize, shares: &mut [f32]) {
        let Self { rate, dropping: Dropping { seed, first_row }, layer } = *self;
        let place = [ATTENTION + layer as u64, head as u64, (first_row + text) as u64];
        leave_out(rate, Random::of(seed, &place), shares);
    }
}

/// Zeros for this share of the values, and for the rest the factor that keeps the mean.
fn leave_out(rate: f32, mut random: Random, values: &mut [f32]) {
    let factor = 1.0 / (1.0 - rate);
    let bound = (f64::from(rate) * f64::from(1 << 16)).round() as u64;
    for part in values.chunks_mut(DRAWN) {
        let mut drawn = random.next();
        for value in part {
            *value *= if drawn & 0xffff < bound { 0.0 } else { factor };
            drawn >>= 16;
        }
    }
}
