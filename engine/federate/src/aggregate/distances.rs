//! Owns the distances between updates, and what is told from them alone.
//!
//! Refuses to choose among updates. Bound: the square of their number, and one pass over them.

use truststram_model::kernels::add_squared_distances;

use super::cores::{Cores, Tiles};
use super::rows::Rows;
use crate::error::FederateError;

/// Values whose squared differences are summed in single precision.
const SUMMED: usize = 1_024;

/// Squared distances between each two of some updates.
#[derive(Clone, Debug, PartialEq)]
pub struct SquaredDistances {
    count: usize,
    /// Row by row, zeros on the diagonal.
    values: Vec<f64>,
}

impl SquaredDistances {
    /// Between two of them.
    pub fn between(&self, a: usize, b: usize) -> f64 {
        self.values[a * self.count + b]
    }

    /// All, row by row, as a plan asks for them.
    pub fn to_column(&self) -> Vec<f32> {
        self.values.iter().map(|value| *value as f32).collect()
    }
}

/// The squared distances between each two of the updates, each times its factor. Differences are
/// squared, not products subtracted, so that near updates far from zero keep their digits.
///
/// # Errors
/// [`FederateError::Aggregation`] if lengths differ, and what reading says.
pub fn squared_distances(
    cores: Cores<'_>,
    rows: &[&dyn Rows],
    factors: &[f32],
) -> Result<SquaredDistances, FederateError> {
    let count = rows.len();
    let len = rows.first().map_or(0, |row| row.len());
    let tiles = Tiles::new(rows, factors, len)?;
    let mut values = tiles.sum(cores, count * count, |rows, sums| {
        let len = rows.first().map_or(0, |row| row.len());
        let mut few = Vec::with_capacity(rows.len());
        for first in (0..len).step_by(SUMMED) {
            few.clear();
            few.extend(rows.iter().map(|row| &row[first..len.min(first + SUMMED)]));
            add_squared_distances(cores.isa, &few, sums);
        }
    })?;
    for i in 0..count {
        for j in 0..i {
            values[i * count + j] = values[j * count + i];
        }
    }
    Ok(SquaredDistances { count, values })
}

/// What keeps an update that is the centre from a weight without end.
const SMOOTHING: f64 = 1e-6;

/// Weights, which sum to 1, whose weighted mean is nearest to all updates: the geometric median by
/// smoothed Weiszfeld steps (Pillutla et al., 2022, algorithm 2). The distance to a mean follows
/// from the distances between the updates, so that no step reads them.
pub fn geometric_weights(
    distances: &SquaredDistances,
    weights: &[f32],
    iterations: u32,
) -> Vec<f32> {
    let count = weights.len();
    // As in multi-Krum: what is farther from most than f32 can say counts for nothing.
    let is_far =
        |i: usize| 2 * (0..count).filter(|&j| !distances.between(i, j).is_finite()).count() > count;
    let near = |i, j| Some(distances.between(i, j)).filter(|d| d.is_finite()).unwrap_or(0.0);
    let kept = weights.iter().enumerate();
    let mut start: Vec<f64> =
        kept.map(|(i, weight)| if is_far(i) { 0.0 } else { f64::from(*weight) }).collect();
    let total: f64 = start.iter().sum();
    if total <= 0.0 {
        return weights.to_vec();
    }
    start.iter_mut().for_each(|weight| *weight /= total);
    let mut current = start.clone();
    for _ in 0..iterations {
        let to: Vec<f64> = (0..start.len())
            .map(|i| current.iter().enumerate().map(|(j, w)| w * near(i, j)).sum())
            .collect();
        let spread: f64 = current.iter().zip(&to).map(|(w, to)| w * to).sum::<f64>() / 2.0;
        let scale = spread.max(f64::MIN_POSITIVE).sqrt();
        let next = start
            .iter()
            .zip(&to)
            .map(|(weight, to)| weight / (to - spread).max(0.0).sqrt().max(SMOOTHING * scale));
        let next: Vec<f64> = next.collect();
        let sum: f64 = next.iter().sum();
        if !sum.is_finite() || sum <= 0.0 {
            break;
        }
        current = next.iter().map(|weight| weight / sum).collect();
    }
    current.iter().map(|weight| *weight as f32).collect()
}
