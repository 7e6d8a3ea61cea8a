//! Owns the learning rate over the steps.
//!
//! Refuses to know optimisers. Bound: a number per step, computed in f64.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// How the learning rate changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The optimiser's rate, after a warm-up from zero.
    Constant {
        /// Steps until it is reached.
        #[serde(default)]
        warm_up_steps: u64,
    },
    /// Up to the optimiser's rate and down to almost nothing, both as a cosine, with the momentum
    /// (or beta1) the other way round; as PyTorch's `OneCycleLR` has it (Smith and Topin,
    /// "Super-convergence", 2017).
    OneCycle {
        /// The share of the steps that lead up.
        #[serde(default = "rise")]
        rise: f64,
        /// The rate at the top over that at the start.
        #[serde(default = "start_divisor")]
        start_divisor: f64,
        /// The rate at the start over that at the end.
        #[serde(default = "end_divisor")]
        end_divisor: f64,
        /// The momentum at the top, and at both ends; none to leave it alone.
        #[serde(default = "momentum")]
        momentum: Option<[f64; 2]>,
    },
}

fn rise() -> f64 {
    0.3
}

fn start_divisor() -> f64 {
    25.0
}

fn end_divisor() -> f64 {
    1e4
}

fn momentum() -> Option<[f64; 2]> {
    Some([0.85, 0.95])
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Constant { warm_up_steps: 0 }
    }
}

/// What a step is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// The learning rate.
    pub rate: f64,
    /// The momentum, where the schedule has one.
    pub momentum: Option<f64>,
}

impl Schedule {
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let wrong = |option, expected| Err(TrainError::Option { option, expected });
        let Self::OneCycle { rise, start_divisor, end_divisor, momentum } = self else {
            return Ok(());
        };
        if !(*rise > 0.0 && *rise < 1.0) {
            return wrong("schedule.rise", "between 0 and 1");
        }
        if !(*start_divisor >= 1.0 && *end_divisor >= 1.0) {
            return wrong("schedule", "divisors from 1");
        }
        let is_share = |share: &f64| (0.0..1.0).contains(share);
        match momentum {
            Some(momentum) if !momentum.iter().all(is_share) => {
                wrong("schedule.momentum", "from 0 to below 1")
            }
            _ => Ok(()),
        }
    }

    /// The pace of a step, counted from 0, of `steps` with `rate` as the optimiser's.
    pub fn pace(&self, rate: f64, step: u64, steps: u64) -> Pace {
        match *self {
            Self::Constant { warm_up_steps } => {
                let share = (step + 1) as f64 / warm_up_steps.max(1) as f64;
                Pace { rate: rate * share.min(1.0), momentum: None }
            }
            Self::OneCycle { rise, start_divisor, end_divisor, momentum } => {
                let start = rate / start_divisor;
                let top = rise * steps as f64 - 1.0;
                let last = steps as f64 - 1.0;
                let step = step as f64;
                let (share, rates, is_rising) = match step <= top {
                    true => (step / top, [start, rate], true),
                    false => ((step - top) / (last - top), [rate, start / end_divisor], false),
                };
                let share = if share.is_finite() { share.min(1.0) } else { 1.0 };
                let momentum = momentum.map(|[least, most]| match is_rising {
                    true => cosine([most, least], share),
                    false => cosine([least, most], share),
                });
                Pace { rate: cosine(rates, share), momentum }
            }
        }
    }
}

fn cosine([from, to]: [f64; 2], share: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (PI * share).cos())
}
