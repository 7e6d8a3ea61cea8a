//! Owns bringing features to mean 0 and variance 1.
//!
//! Refuses to change rows: the model does it. Bound: two passes over the rows.

use truststram_model::Preprocessing;

use crate::data::Dataset;
use crate::error::TrainError;

/// Mean and inverse standard deviation of each feature; a constant one is only shifted.
pub(crate) fn standardise(data: &Dataset) -> Result<Preprocessing, TrainError> {
    let (rows, count) = (data.rows() as f64, data.feature_count);
    let mut means = vec![0.0_f64; count];
    let mut squares = vec![0.0_f64; count];
    data.each_row(&mut |row| {
        means.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value));
    })?;
    means.iter_mut().for_each(|mean| *mean /= rows);
    data.each_row(&mut |row| {
        let pairs = means.iter().zip(row);
        squares.iter_mut().zip(pairs).for_each(|(square, (mean, value))| {
            *square += (f64::from(*value) - mean).powi(2);
        });
    })?;
    let scale = squares.iter().map(|square| {
        let variance = square / rows;
        if variance > 1e-12 { variance.sqrt().recip() as f32 } else { 1.0 }
    });
    let scale = scale.collect();
    Ok(Preprocessing { mean: means.into_iter().map(|mean| mean as f32).collect(), scale })
}
