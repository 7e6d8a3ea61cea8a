//! Owns the estimate of the memory that a training needs, before anything is allocated.
//!
//! Refuses to know how much there is. Bound: one sum over layers; windows of convolutions are not
//! in it.

use crate::data::Split;
use crate::error::TrainError;
use crate::fit::outputs;
use crate::net::{Layer, Net};
use crate::spec::TrainSpec;

/// Copies of the weights besides those of workers: themselves, the optimiser's three, the gradients
/// of the parts before, the best ones, and those of a checkpoint that is written.
const COPIES: u64 = 12;

/// Bytes that a training needs at least, besides its rows.
///
/// # Errors
/// [`TrainError::Option`] names what does not fit the rows.
pub fn bytes_needed(split: &Split, spec: &TrainSpec, cores: usize) -> Result<u64, TrainError> {
    let count = split.train.feature_count;
    let net = Net::new(&spec.net, count, outputs(&split.train, spec)?)?;
    let weights = net.weight_count() as u64 * (COPIES + cores as u64);
    // Of each value of a row what it is, and its gradient.
    let values: u64 = net.layers.iter().map(|layer: &Layer| layer.outputs() as u64).sum();
    let rows = spec.batch_size.min(split.train.rows()) as u64;
    Ok((weights + rows * (count as u64 + 2 * values)).saturating_mul(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, digits};
    use crate::net::NetSpec;

    #[test]
    fn weights_and_rows_are_counted() {
        let split = digits().unwrap().split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED);
        let need = |outputs: usize, batch_size: usize| {
            let net = NetSpec::dense(&[outputs]);
            let spec = TrainSpec { net, batch_size, ..TrainSpec::default() };
            bytes_needed(&split, &spec, 1)
        };
        let weights = 64 * 8 + 8 + 8 * 10 + 10;
        assert_eq!(need(8, 32).unwrap(), 4 * (13 * weights + 32 * (64 + 2 * 18)));
        assert_eq!(need(8, 1 << 20).unwrap(), need(8, 1_500).unwrap(), "there are no more rows");
        assert!(need(60_000, 32).unwrap() > 4 * 13 * 60_000 * 74);
        assert!(need(100_000, 32).is_err());
    }
}
