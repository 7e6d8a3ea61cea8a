//! Owns the mean of updates as they come, where none of them is kept.
//!
//! Refuses to take back an update. Bound: one vector as long as the model.

use truststram_model::kernels::add_weighted_rows;

use super::cores::{Cores, Tiles};
use super::rows::Rows;
use crate::error::FederateError;

/// The weighted sum so far.
#[derive(Clone, Debug)]
pub struct RunningMean {
    sum: Vec<f32>,
    weight: f64,
}

impl RunningMean {
    /// Nothing yet, of a model of so many parameters.
    pub fn new(parameters: usize) -> Self {
        Self { sum: vec![0.0; parameters], weight: 0.0 }
    }

    /// Adds an update. Weights are of any scale, as the numbers of examples are.
    ///
    /// # Errors
    /// [`FederateError::Aggregation`] for a weight that is not above 0 or another length.
    pub fn add(
        &mut self,
        cores: Cores<'_>,
        update: &dyn Rows,
        weight: f32,
    ) -> Result<(), FederateError> {
        if !(weight.is_finite() && weight > 0.0) {
            return Err(FederateError::Aggregation {
                field: "weight",
                found: weight.to_string(),
                expected: "a number above 0".to_owned(),
            });
        }
        let rows = [update];
        let tiles = Tiles::new(&rows, &[1.0], self.sum.len())?;
        tiles.fill(
            cores,
            &mut self.sum,
            || (),
            |(), _, rows, sum| {
                add_weighted_rows(cores.isa, rows, &[weight], sum);
                Ok(())
            },
        )?;
        self.weight += f64::from(weight);
        Ok(())
    }

    /// The mean, if there was an update.
    pub fn finish(mut self) -> Option<Vec<f32>> {
        let factor = (1.0 / self.weight) as f32;
        self.sum.iter_mut().for_each(|value| *value *= factor);
        (self.weight > 0.0).then_some(self.sum)
    }
}
