//! Owns the weights, the reducer and the server optimiser of each aggregator.
//!
//! Refuses to see updates that cannot count: the caller has left them out. Bound: as its parent.

use serde::{Deserialize, Serialize};

use super::{Policy, Settings, Updates};

/// How updates are reduced to one, as `aggregation.wit` describes it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reducer {
    /// The weighted sum.
    Linear,
    /// The mean without this share at each end.
    TrimmedMean(f32),
    /// The median.
    Median,
    /// The geometric median, by so many iterations.
    GeometricMedian(u32),
    /// The plugin's own kernel.
    Custom,
}

/// Constants of an adaptive server optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Adaptive {
    /// Decay of the first moment.
    #[serde(with = "crate::number")]
    pub beta1: f32,
    /// Decay of the second moment.
    #[serde(with = "crate::number")]
    pub beta2: f32,
    /// What keeps the denominator from zero.
    #[serde(with = "crate::number")]
    pub tau: f32,
}

/// How the reduced update is applied.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerOptimizer {
    /// Added, times the learning rate.
    None,
    /// With this momentum.
    Momentum(f32),
    /// FedAdagrad.
    Adagrad(Adaptive),
    /// FedAdam.
    Adam(Adaptive),
    /// FedYogi.
    Yogi(Adaptive),
}

/// An update that has no part.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Its index.
    pub index: u32,
    /// Why.
    pub reason: String,
}

impl Refusal {
    pub(super) fn new(index: usize, reason: String) -> Self {
        // Columns of a component never have more entries than its 32-bit memory has bytes.
        Self { index: index as u32, reason }
    }
}

/// What the host is to do, as `aggregation.wit` describes it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// One weight for each update.
    #[serde(with = "crate::number::list")]
    pub weights: Vec<f32>,
    /// The reduction.
    pub reducer: Reducer,
    /// The application.
    pub optimizer: ServerOptimizer,
    /// The server's learning rate.
    #[serde(with = "crate::number")]
    pub learning_rate: f32,
    /// Longest update; 0 means any.
    #[serde(with = "crate::number")]
    pub clip_norm: f32,
    /// Noise as a multiple of `clip_norm`.
    #[serde(with = "crate::number")]
    pub noise_multiplier: f32,
    /// Updates left out.
    pub refused: Vec<Refusal>,
    /// Why.
    pub reason: String,
}

/// The answer of an aggregator.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Aggregate by this plan.
    Aggregate(Plan),
    /// Keep the model, for this reason.
    KeepModel(String),
}

/// Fewest updates of which a median or a trimmed mean says more than the mean.
const ROBUST_UPDATES_MIN: usize = 3;

/// Plans for the updates at the indices `taken`, at least one.
pub(super) fn with(
    settings: &Settings,
    updates: &Updates,
    taken: &[usize],
    mut refused: Vec<Refusal>,
) -> Result<Outcome, String> {
    let n = taken.len();
    let (optimizer, usual_rate) = optimizer(settings);
    let mut learning_rate = settings.learning_rate.unwrap_or(usual_rate);
    let mut reducer = Reducer::Linear;
    let few = |least: usize| Outcome::KeepModel(format!("{n} usable updates, fewer than {least}"));
    let even = || taken.iter().map(|_| 1.0).collect::<Vec<f64>>();
    let by_samples = || taken.iter().map(|&index| updates.samples[index] as f64).collect();
    let shares: Vec<f64> = match settings.policy {
        Policy::Fedavg | Policy::Fedavgm | Policy::Fedadam | Policy::Fedyogi => by_samples(),
        Policy::Fedbuff => {
            let damped: Vec<f64> = taken
                .iter()
                .map(|&index| 1.0 / (1.0 + f64::from(updates.staleness[index])).sqrt())
                .collect();
            // The paper divides the damped sum by the number of updates. Weights sum to 1 here, so
            // that what the damping takes away goes into the learning rate.
            learning_rate *= (damped.iter().sum::<f64>() / n as f64) as f32;
            damped
        }
        Policy::Median | Policy::TrimmedMean if n < ROBUST_UPDATES_MIN => {
            return Ok(few(ROBUST_UPDATES_MIN));
        }
        Policy::Median => {
            reducer = Reducer::Median;
            even()
        }
        Policy::TrimmedMean => {
            // With few updates the share would round to none, and the mean be left.
            let share = settings.trim_share.max(1.0 / n as f32);
            reducer = Reducer::TrimmedMean(share.min(0.49));
            even()
        }
        Policy::MultiKrum => {
            let hostile = (f64::from(settings.hostile_share) * n as f64) as usize;
            let least = 2 * hostile + 3;
            if n < least {
                return Ok(few(least));
            }
            let far = farthest(updates, taken, hostile)?;
            let reason = || "multi-krum: too far from its neighbours".to_owned();
            refused.extend(far.iter().map(|&index| Refusal::new(index, reason())));
            taken.iter().map(|index| if far.contains(index) { 0.0 } else { 1.0 }).collect()
        }
    };
    let sum: f64 = shares.iter().sum();
    let mut weights = vec![0.0; updates.len()];
    for (&index, share) in taken.iter().zip(&shares) {
        weights[index] = (share / sum) as f32;
    }
    refused.sort_by_key(|refusal| refusal.index);
    let counted = updates.len() - refused.len();
    Ok(Outcome::Aggregate(Plan {
        weights,
        reducer,
        optimizer,
        learning_rate,
        clip_norm: settings.clip_norm,
        noise_multiplier: settings.noise_multiplier,
        refused,
        reason: format!("{counted} of {} updates count", updates.len()),
    }))
}

/// The server optimiser, and the learning rate that goes with it.
fn optimizer(settings: &Settings) -> (ServerOptimizer, f32) {
    let Settings { beta1, beta2, tau, .. } = *settings;
    let adaptive = Adaptive { beta1, beta2, tau };
    match settings.policy {
        Policy::Fedavgm => (ServerOptimizer::Momentum(settings.momentum), 1.0),
        Policy::Fedadam => (ServerOptimizer::Adam(adaptive), 0.01),
        Policy::Fedyogi => (ServerOptimizer::Yogi(adaptive), 0.01),
        _ => (ServerOptimizer::None, 1.0),
    }
}

/// The `hostile` updates whose nearest `n - hostile - 2` neighbours are farthest away, by index.
/// An update whose distances are not finite is among the first of them.
fn farthest(updates: &Updates, taken: &[usize], hostile: usize) -> Result<Vec<usize>, String> {
    let n = updates.len();
    if updates.squared_distances.len() != n * n {
        return Err("multi-krum needs the distances between the updates".to_owned());
    }
    let neighbours = taken.len() - hostile - 2;
    let mut row = Vec::with_capacity(taken.len());
    let mut scored: Vec<(f64, usize)> = taken
        .iter()
        .map(|&index| {
            let others = taken.iter().filter(|&&other| other != index);
            row.clear();
            row.extend(others.map(|other| {
                let distance = f64::from(updates.squared_distances[index * n + other]);
                if distance.is_finite() { distance } else { f64::INFINITY }
            }));
            row.sort_unstable_by(f64::total_cmp);
            (row.iter().take(neighbours).sum(), index)
        })
        .collect();
    scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    Ok(scored.into_iter().take(hostile).map(|(_, index)| index).collect())
}
