//! Owns the way from a plan to the next model.
//!
//! Refuses to decide: the aggregator has said which updates count, by how much, how they are
//! reduced and applied. Bound: as the reductions, and one vector as long as the model.

use truststram_decide::aggregation::{CostlyFacts, Plan, Reducer};

use super::cores::{Cores, Tiles};
use super::distances::{geometric_weights, squared_distances};
use super::optimizer::ServerState;
use super::reduce::{custom, median, trimmed_mean, weighted_sum};
use super::rows::Rows;
use crate::error::FederateError;

/// A kernel of the operator's: the first value of a tile, the weights and values of each update.
pub type Custom<'a> =
    dyn Fn(usize, &[f32], &[&[f32]], &mut [f32]) -> Result<(), FederateError> + Sync + 'a;

/// Facts that cost a pass over all updates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Cosine of each update with the mean of all, if asked for.
    pub cosines: Vec<f32>,
    /// Squared distances between each two, row by row, if asked for.
    pub squared_distances: Vec<f32>,
}

/// Computes the facts that an aggregator wants.
///
/// # Errors
/// As the kernels.
pub fn facts(
    cores: Cores<'_>,
    rows: &[&dyn Rows],
    wanted: CostlyFacts,
) -> Result<Facts, FederateError> {
    let mut facts = Facts::default();
    if wanted.squared_distances {
        facts.squared_distances =
            squared_distances(cores, rows, &vec![1.0; rows.len()])?.to_column();
    }
    if wanted.cosines {
        facts.cosines = cosines(cores, rows)?;
    }
    Ok(facts)
}

fn cosines(cores: Cores<'_>, rows: &[&dyn Rows]) -> Result<Vec<f32>, FederateError> {
    let count = rows.len();
    let len = rows.first().map_or(0, |row| row.len());
    let factors = vec![1.0; count];
    let tiles = Tiles::new(rows, &factors, len)?;
    // Per update its square and its product with the sum of all; last the square of that sum.
    let sums = tiles.sum(cores, 2 * count + 1, |rows, sums| {
        let len = rows.first().map_or(0, |row| row.len());
        for at in 0..len {
            let total: f64 = rows.iter().map(|row| f64::from(row[at])).sum();
            for (index, row) in rows.iter().enumerate() {
                sums[2 * index] += f64::from(row[at]) * f64::from(row[at]);
                sums[2 * index + 1] += f64::from(row[at]) * total;
            }
            sums[2 * rows.len()] += total * total;
        }
    })?;
    let total = sums[2 * count];
    let pairs = sums.as_chunks::<2>().0.iter();
    Ok(pairs.map(|[square, product]| (product / (square * total).sqrt()) as f32).collect())
}

/// Reduces the updates to one, as the plan says, in `out`. `rows` and `l2_norms` have one entry for
/// each weight of the plan.
///
/// # Errors
/// [`FederateError::Aggregation`] if the parts do not fit, or if the plan wants a kernel that is
/// not there; what reading says.
pub fn reduce(
    cores: Cores<'_>,
    plan: &Plan,
    (rows, l2_norms): (&[&dyn Rows], &[f64]),
    custom_kernel: Option<&Custom<'_>>,
    out: &mut [f32],
) -> Result<(), FederateError> {
    let wrong = |field, found: String, expected: &str| {
        Err(FederateError::Aggregation { field, found, expected: expected.to_owned() })
    };
    if rows.len() != plan.weights.len() || l2_norms.len() != rows.len() {
        let found = plan.weights.len().to_string();
        return wrong("number of weights", found, "one for each update");
    }
    let mut taken: Vec<&dyn Rows> = Vec::new();
    let (mut weights, mut factors) = (Vec::new(), Vec::new());
    let counted = rows.iter().zip(&plan.weights).zip(l2_norms);
    for ((row, weight), norm) in counted.filter(|((_, weight), _)| **weight > 0.0) {
        taken.push(*row);
        weights.push(*weight);
        factors.push(clip_factor(*norm, plan.clip_norm));
    }
    if taken.is_empty() {
        return wrong("number of updates", "0".to_owned(), "at least one with a weight");
    }
    let scaled = |weights: &[f32]| -> Vec<f32> {
        weights.iter().zip(&factors).map(|(weight, factor)| weight * factor).collect()
    };
    match plan.reducer {
        Reducer::Linear => weighted_sum(cores, &taken, &scaled(&weights), out),
        Reducer::Median => median(cores, &taken, &factors, out),
        Reducer::TrimmedMean(share) => {
            // A share that was meant as k of n may lie below it by the rounding of f32.
            let cut = (f64::from(share) * taken.len() as f64 + 1e-3) as usize;
            trimmed_mean(cores, &taken, &factors, cut, out)
        }
        Reducer::GeometricMedian(iterations) => {
            let distances = squared_distances(cores, &taken, &factors)?;
            let weights = geometric_weights(&distances, &weights, iterations);
            weighted_sum(cores, &taken, &scaled(&weights), out)
        }
        Reducer::Custom => match custom_kernel {
            None => wrong("reducer", "custom".to_owned(), "a kernel that is installed"),
            Some(kernel) => {
                let reduction = |first: usize, rows: &[&[f32]], out: &mut [f32]| {
                    kernel(first, &weights, rows, out)
                };
                custom(cores, &taken, &factors, &reduction, out)
            }
        },
    }
}

/// Makes the next model of the present one: reduces, adds noise, applies. `noise` gives numbers of
/// the standard normal distribution.
///
/// # Errors
/// As [`reduce`], and if the model would not be finite; `model` and `state` are of no use then.
pub fn carry_out(
    cores: Cores<'_>,
    plan: &Plan,
    updates: (&[&dyn Rows], &[f64]),
    custom_kernel: Option<&Custom<'_>>,
    noise: &mut dyn FnMut() -> f32,
    (model, state): (&mut [f32], &mut ServerState),
) -> Result<(), FederateError> {
    let mut reduced = vec![0.0; model.len()];
    reduce(cores, plan, updates, custom_kernel, &mut reduced)?;
    if plan.noise_multiplier > 0.0 {
        // The sum of updates of weight w moves by at most w * clip_norm when one is another.
        let most = plan.weights.iter().copied().fold(0.0, f32::max);
        let deviation = plan.noise_multiplier * plan.clip_norm * most;
        reduced.iter_mut().for_each(|value| *value += deviation * noise());
    }
    state.apply(&plan.optimizer, plan.learning_rate, &reduced, model)
}

/// What an update of this length is multiplied by to be no longer than `clip_norm`, if that is
/// above 0.
fn clip_factor(norm: f64, clip_norm: f32) -> f32 {
    let clip = f64::from(clip_norm);
    if clip > 0.0 && norm > clip { (clip / norm) as f32 } else { 1.0 }
}
