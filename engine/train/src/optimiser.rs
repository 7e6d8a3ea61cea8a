//! Owns the optimisers: their options, what they keep of each weight, and a step.
//!
//! Refuses to know networks. Bound: three numbers per weight.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use truststram_model::kernels::{AdamW, Isa, Moments, Momentum, adamw, momentum};

use crate::error::TrainError;
use crate::schedule::Pace;

/// How weights follow gradients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimiserSpec {
    /// Adam with decoupled weight decay.
    AdamW {
        /// Length of a step.
        #[serde(default = "adam_rate")]
        learning_rate: f64,
        /// Share of the old first moment that stays.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Share of the old second moment that stays.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Share of a weight that a step of length 1 takes away.
        #[serde(default = "decay")]
        weight_decay: f64,
        /// Whether steps never grow again when gradients shrink.
        #[serde(default)]
        amsgrad: bool,
    },
    /// Gradient descent with momentum.
    Sgd {
        /// Length of a step.
        learning_rate: f64,
        /// Share of the old velocity that stays.
        #[serde(default)]
        momentum: f64,
        /// Whether steps look ahead.
        #[serde(default)]
        nesterov: bool,
        /// Share of the weight that is added to its gradient.
        #[serde(default)]
        weight_decay: f64,
    },
}

fn adam_rate() -> f64 {
    1e-3
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.999
}

fn epsilon() -> f64 {
    1e-8
}

fn decay() -> f64 {
    0.01
}

impl Default for OptimiserSpec {
    fn default() -> Self {
        Self::AdamW {
            learning_rate: adam_rate(),
            beta1: beta1(),
            beta2: beta2(),
            epsilon: epsilon(),
            weight_decay: decay(),
            amsgrad: false,
        }
    }
}

impl OptimiserSpec {
    /// The learning rate at its highest.
    pub fn rate(&self) -> f64 {
        match self {
            Self::AdamW { learning_rate, .. } | Self::Sgd { learning_rate, .. } => *learning_rate,
        }
    }

    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let wrong = |option, expected| Err(TrainError::Option { option, expected });
        if !(self.rate() > 0.0 && self.rate().is_finite()) {
            return wrong("learning_rate", "a positive number");
        }
        let (shares, weight_decay) = match self {
            Self::AdamW { beta1, beta2, epsilon, weight_decay, .. } => {
                if !(*epsilon > 0.0 && epsilon.is_finite()) {
                    return wrong("optimiser.epsilon", "a positive number");
                }
                ([*beta1, *beta2], *weight_decay)
            }
            Self::Sgd { momentum, weight_decay, nesterov, .. } => {
                if *nesterov && *momentum == 0.0 {
                    return wrong("optimiser.nesterov", "with a momentum");
                }
                ([*momentum, 0.0], *weight_decay)
            }
        };
        if !shares.iter().all(|share| (0.0..1.0).contains(share)) {
            return wrong("optimiser", "betas and momentum from 0 to below 1");
        }
        match weight_decay >= 0.0 && weight_decay.is_finite() {
            true => Ok(()),
            false => wrong("weight_decay", "a number from 0"),
        }
    }
}

/// An optimiser and what it keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimiser {
    spec: OptimiserSpec,
    /// Steps made.
    pub(crate) steps: u64,
    /// First moments or velocities, second moments, their largest; empty where there are none.
    pub(crate) kept: [Vec<f32>; 3],
}

impl Optimiser {
    /// For `count` weights.
    pub fn new(spec: OptimiserSpec, count: usize) -> Self {
        let counts = match spec {
            OptimiserSpec::AdamW { amsgrad: true, .. } => [count; 3],
            OptimiserSpec::AdamW { .. } => [count, count, 0],
            OptimiserSpec::Sgd { .. } => [count, 0, 0],
        };
        Self { spec, steps: 0, kept: counts.map(|count| vec![0.0; count]) }
    }

    /// Changes the weights by one step against `factor` times the gradients. Where `parts` is more
    /// than 1, that many threads of this rayon pool share the weights; the result is the same.
    pub fn step(
        &mut self,
        isa: Isa,
        pace: Pace,
        factor: f32,
        weights: &mut [f32],
        gradients: &[f32],
        parts: usize,
    ) {
        self.steps += 1;
        let step = Step::new(self.spec, self.steps, pace, factor);
        let [first, second, largest] = &mut self.kept;
        if parts <= 1 {
            return step.apply(isa, weights, gradients, [first, second, largest]);
        }
        let count = weights.len().div_ceil(parts).next_multiple_of(16);
        let wanted = weights.len().div_ceil(count);
        let [first, second, largest] =
            [first, second, largest].map(|of| parts_of(of, count, wanted));
        weights
            .par_chunks_mut(count)
            .zip(gradients.par_chunks(count))
            .zip(first.into_par_iter().zip(second).zip(largest))
            .for_each(|((weights, gradients), ((first, second), largest))| {
                step.apply(isa, weights, gradients, [first, second, largest]);
            });
    }
}

/// `wanted` parts of `count` values; what is not there is empty.
fn parts_of(values: &mut [f32], count: usize, wanted: usize) -> Vec<&mut [f32]> {
    let mut parts = Vec::with_capacity(wanted);
    let mut rest = values;
    for _ in 0..wanted {
        let (part, others) = rest.split_at_mut(count.min(rest.len()));
        parts.push(part);
        rest = others;
    }
    parts
}

/// The numbers of one step.
#[derive(Clone, Copy)]
enum Step {
    AdamW(AdamW),
    Momentum(Momentum),
}

impl Step {
    fn new(spec: OptimiserSpec, count: u64, pace: Pace, factor: f32) -> Self {
        let rate = pace.rate;
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        match spec {
            OptimiserSpec::AdamW { beta1, beta2, epsilon, weight_decay, .. } => {
                let beta1 = pace.momentum.unwrap_or(beta1);
                Self::AdamW(AdamW {
                    factor,
                    decay: (1.0 - rate * weight_decay) as f32,
                    first_share: (1.0 - beta1) as f32,
                    second_kept: beta2 as f32,
                    second_share: (1.0 - beta2) as f32,
                    step: (rate / (1.0 - beta1.powi(count))) as f32,
                    correction: (1.0 / (1.0 - beta2.powi(count)).sqrt()) as f32,
                    epsilon: epsilon as f32,
                })
            }
            OptimiserSpec::Sgd { momentum, nesterov, weight_decay, .. } => {
                Self::Momentum(Momentum {
                    factor,
                    decay: weight_decay as f32,
                    kept: pace.momentum.filter(|_| momentum > 0.0).unwrap_or(momentum) as f32,
                    rate: rate as f32,
                    is_nesterov: nesterov,
                })
            }
        }
    }

    fn apply(self, isa: Isa, weights: &mut [f32], gradients: &[f32], kept: [&mut [f32]; 3]) {
        let [first, second, largest] = kept;
        match self {
            Self::AdamW(step) => {
                let largest = Some(largest).filter(|largest| !largest.is_empty());
                adamw(isa, step, weights, gradients, Moments { first, second, largest });
            }
            Self::Momentum(step) => momentum(isa, step, weights, gradients, first),
        }
    }
}
