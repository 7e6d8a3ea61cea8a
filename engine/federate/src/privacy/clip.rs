//! Owns the clip: how much an update is shortened, and how the length follows the updates (Andrew,
//! Thakkar, McMahan and Ramaswamy, 2021).
//!
//! Refuses to see an update. Bound: one number.

use super::settings::PrivacySettings;

/// What is left for the rounding of factors and sums of f32, so that no update is longer than the
/// clip.
const SLACK: f64 = 1.0 - 1e-6;
/// How far the clip may wander from the first one.
const WANDER_MAX: f64 = 1e6;

/// What an update of this length is multiplied by.
pub(crate) fn clip_factor(norm: f64, clip: f64) -> f32 {
    if norm > clip * SLACK { (clip * SLACK * SLACK / norm) as f32 } else { 1.0 }
}

/// The clip of a round and the deviation of the noise on the sum of its updates.
///
/// Where the clip adapts, the count of short updates is told as well, with noise of its own; the
/// updates get as much more noise as keeps both together at `noise_multiplier` (theorem 1).
pub(crate) fn clip_of_round(settings: &PrivacySettings, clip: Option<f64>) -> (f64, f64) {
    let clip = clip.unwrap_or(settings.clip_norm);
    let multiplier = match settings.clip_quantile {
        None => settings.noise_multiplier,
        Some(_) => {
            let (updates, count) = (settings.noise_multiplier, settings.count_deviation());
            (updates.powi(-2) - (2.0 * count).powi(-2)).powf(-0.5)
        }
    };
    (clip, multiplier * clip)
}

/// What an update of this length says of the clip. Half of one is taken from each bit, so that a
/// client more or less moves the sum by a half.
pub(crate) fn clip_bit(norm: f64, clip: f64) -> f64 {
    if norm <= clip { 0.5 } else { -0.5 }
}

/// The clip of the next round: longer where fewer than the quantile are short, else shorter.
/// `bits` is the sum of what the updates say, `noise` a number of the standard normal distribution.
pub(crate) fn next_clip(
    settings: &PrivacySettings,
    clip: f64,
    bits: f64,
    noise: f64,
) -> Option<f64> {
    let quantile = settings.clip_quantile?;
    let told = (bits + settings.count_deviation() * noise) / settings.expected() + 0.5;
    let next = clip * (-settings.clip_learning_rate * (told - quantile)).exp();
    Some(next.clamp(settings.clip_norm / WANDER_MAX, settings.clip_norm * WANDER_MAX))
}
