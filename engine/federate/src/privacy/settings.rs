//! Owns what the operator may set about the privacy of clients.
//!
//! Refuses to know rounds, which are checked with it elsewhere. Bound: each has its limits.

use serde::{Deserialize, Serialize};

use super::accountant::Mechanism;

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacySettings {
    /// Standard deviation of the noise on the sum of the updates, as a multiple of the clip.
    pub noise_multiplier: f64,
    /// Updates longer than this are shortened to it; where the clip adapts, the first one.
    pub clip_norm: f64,
    /// The clip adapts, so that this share of the updates is shorter; fixed if absent.
    #[serde(default)]
    pub clip_quantile: Option<f64>,
    /// How fast it adapts; the paper's 0.2.
    #[serde(default = "clip_learning_rate")]
    pub clip_learning_rate: f64,
    /// Standard deviation of the noise on the count of short updates; a twentieth of the expected
    /// updates if absent, as in the paper.
    #[serde(default)]
    pub count_noise: Option<f64>,
    /// The probability with which each client takes part in a round.
    #[serde(default = "sampling_rate")]
    pub sampling_rate: f64,
    /// Examples of a client's step: the same for all, since one that followed from what other
    /// clients have would tell of them.
    #[serde(default = "batch_size")]
    pub batch_size: u32,
    /// Passes over a client's examples, the same for all.
    #[serde(default = "local_epochs")]
    pub local_epochs: u32,
    /// Clients that the federation is meant for: sums are divided by `sampling_rate` times this,
    /// however many come.
    pub population: u32,
    /// The delta at which epsilon is told.
    #[serde(default = "delta")]
    pub delta: f64,
    /// The epsilon at which the federation ends; none if absent.
    #[serde(default)]
    pub epsilon_max: Option<f64>,
}

fn clip_learning_rate() -> f64 {
    0.2
}

fn sampling_rate() -> f64 {
    1.0
}

fn batch_size() -> u32 {
    32
}

fn local_epochs() -> u32 {
    5
}

fn delta() -> f64 {
    1e-5
}

impl PrivacySettings {
    /// Checks the limits.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn check(&self) -> Result<(), String> {
        let above_zero = |value: f64| value > 0.0 && value.is_finite();
        let population = f64::from(self.population);
        let rules = [
            (above_zero(self.noise_multiplier), "`noise_multiplier` must be a number above 0"),
            (above_zero(self.clip_norm), "`clip_norm` must be a number above 0"),
            (
                self.clip_quantile.is_none_or(|share| share > 0.0 && share < 1.0),
                "`clip_quantile` must be above 0 and below 1",
            ),
            (above_zero(self.clip_learning_rate), "`clip_learning_rate` must be a number above 0"),
            (self.count_noise.is_none_or(above_zero), "`count_noise` must be a number above 0"),
            (
                self.sampling_rate > 0.0 && self.sampling_rate <= 1.0,
                "`sampling_rate` must be above 0 and at most 1",
            ),
            (
                (1..=65_536).contains(&self.batch_size) && (1..=1_000).contains(&self.local_epochs),
                "`batch_size` must be from 1 to 65536, `local_epochs` from 1 to 1000",
            ),
            (self.population >= 1, "`population` must be at least 1"),
            (
                self.delta > 0.0 && self.delta * population < 1.0,
                "`delta` must be above 0 and below 1 / `population`: a larger one would allow \
                 that a client's update is published as it is",
            ),
            (self.epsilon_max.is_none_or(above_zero), "`epsilon_max` must be a number above 0"),
            (
                self.clip_quantile.is_none()
                    || 2.0 * self.count_deviation() > self.noise_multiplier,
                "`count_noise` must be above half of `noise_multiplier`: the count of short \
                 updates alone would tell more than `noise_multiplier` allows; a twentieth of \
                 the expected updates is too little here",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err((*message).to_owned()),
            None => Ok(()),
        }
    }

    /// The mechanism of a round.
    pub fn mechanism(&self) -> Mechanism {
        let Self { sampling_rate, noise_multiplier, .. } = *self;
        Mechanism { sampling_rate, noise_multiplier }
    }

    /// The fixed number that sums are divided by.
    pub(crate) fn expected(&self) -> f64 {
        self.sampling_rate * f64::from(self.population)
    }

    /// Standard deviation of the noise on the count of short updates.
    pub(super) fn count_deviation(&self) -> f64 {
        self.count_noise.unwrap_or(self.expected() / 20.0)
    }
}
