//! Owns the reductions of many updates to one, value by value.
//!
//! Refuses to know which update is whose. Bound: a tile of each update, and for the ordered ones
//! [`ORDERED_BYTES`] more.

use std::ops::Range;

use truststram_model::kernels::{add_weighted_rows, exchange_rows, mean_of_rows};

use super::cores::{Cores, Tiles};
use super::network::selecting;
use super::rows::Rows;
use crate::error::FederateError;

/// What lies in the first cache while columns are put in order.
const ORDERED_BYTES: usize = 24 << 10;
/// Columns come in whole registers.
const REGISTER: usize = 16;

fn same(count: usize) -> Vec<f32> {
    vec![1.0; count]
}

/// The sum of the updates, each times its weight, in `out`.
///
/// # Errors
/// [`FederateError::Aggregation`] if lengths differ, and what reading says.
pub fn weighted_sum(
    cores: Cores<'_>,
    rows: &[&dyn Rows],
    weights: &[f32],
    out: &mut [f32],
) -> Result<(), FederateError> {
    let factors = same(weights.len());
    let tiles = Tiles::new(rows, &factors, out.len())?;
    tiles.fill(
        cores,
        out,
        || (),
        |(), _, rows, out| {
            out.fill(0.0);
            add_weighted_rows(cores.isa, rows, weights, out);
            Ok(())
        },
    )
}

/// The median of each value over the updates, the mean of the middle two of an even number. Each
/// update is multiplied by its factor first.
///
/// # Errors
/// As [`weighted_sum`].
pub fn median(
    cores: Cores<'_>,
    rows: &[&dyn Rows],
    factors: &[f32],
    out: &mut [f32],
) -> Result<(), FederateError> {
    let count = rows.len();
    ordered_mean(cores, rows, factors, count.saturating_sub(1) / 2..count / 2 + 1, out)
}

/// The mean of each value over the updates without the `cut` smallest and largest ones.
///
/// # Errors
/// As [`weighted_sum`], and if nothing would be left.
pub fn trimmed_mean(
    cores: Cores<'_>,
    rows: &[&dyn Rows],
    factors: &[f32],
    cut: usize,
    out: &mut [f32],
) -> Result<(), FederateError> {
    ordered_mean(cores, rows, factors, cut..rows.len().saturating_sub(cut), out)
}

fn ordered_mean(
    cores: Cores<'_>,
    rows: &[&dyn Rows],
    factors: &[f32],
    chosen: Range<usize>,
    out: &mut [f32],
) -> Result<(), FederateError> {
    let count = rows.len();
    if chosen.is_empty() || chosen.end > count {
        return Err(FederateError::Aggregation {
            field: "number of updates",
            found: count.to_string(),
            expected: format!("more than {}", chosen.start.max(1)),
        });
    }
    let network = selecting(count, chosen.clone());
    let columns = ORDERED_BYTES / size_of::<f32>() / count / REGISTER * REGISTER;
    let columns = columns.clamp(REGISTER, 256);
    let tiles = Tiles::new(rows, factors, out.len())?;
    let start = || vec![0.0_f32; count * columns];
    tiles.fill(cores, out, start, |scratch, _, rows, out| {
        for (index, out) in out.chunks_mut(columns).enumerate() {
            let first = index * columns;
            for (row, line) in rows.iter().zip(scratch.chunks_exact_mut(columns)) {
                line[..out.len()].copy_from_slice(&row[first..first + out.len()]);
            }
            exchange_rows(cores.isa, &network, scratch, columns);
            mean_of_rows(cores.isa, scratch, columns, chosen.clone(), out);
        }
        Ok(())
    })
}

/// What a foreign kernel makes of a tile: its first value, and the values of each update.
pub type Reduction<'a> =
    dyn Fn(usize, &[&[f32]], &mut [f32]) -> Result<(), FederateError> + Sync + 'a;

/// Reduces by a function of the caller's, tile by tile.
///
/// # Errors
/// As [`weighted_sum`], and what the function says.
pub fn custom(
    cores: Cores<'_>,
    rows: &[&dyn Rows],
    factors: &[f32],
    reduction: &Reduction<'_>,
    out: &mut [f32],
) -> Result<(), FederateError> {
    let tiles = Tiles::new(rows, factors, out.len())?;
    tiles.fill(cores, out, || (), |(), first, rows, out| reduction(first, rows, out))
}
