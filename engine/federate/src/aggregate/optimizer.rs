//! Owns the server's optimisers: how a reduced update is applied to the model.
//!
//! Refuses to know how it was reduced. Bound: two vectors as long as the model, made when an
//! optimiser first needs them.

use serde::{Deserialize, Serialize};
use truststram_decide::aggregation::{Adaptive, ServerOptimizer};

use crate::error::FederateError;

/// What an optimiser keeps from round to round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerState {
    /// The momentum, or the mean of past updates.
    pub first: Vec<f32>,
    /// The mean or the sum of their squares.
    pub second: Vec<f32>,
}

impl ServerState {
    /// Applies an update. The moments start at 0 and at tau squared, without a correction of their
    /// bias, as in Reddi et al. (2021), algorithm 2.
    ///
    /// # Errors
    /// [`FederateError::Aggregation`] if lengths differ, or if the model would not be finite; the
    /// model and the state are of no use then.
    pub fn apply(
        &mut self,
        optimizer: &ServerOptimizer,
        learning_rate: f32,
        update: &[f32],
        model: &mut [f32],
    ) -> Result<(), FederateError> {
        if update.len() != model.len() {
            return Err(FederateError::Aggregation {
                field: "number of values",
                found: update.len().to_string(),
                expected: model.len().to_string(),
            });
        }
        let fit = |moment: &mut Vec<f32>, start: f32| {
            if moment.len() != model.len() {
                *moment = vec![start; model.len()];
            }
        };
        match optimizer {
            ServerOptimizer::None => {
                for (model, update) in model.iter_mut().zip(update) {
                    *model += learning_rate * update;
                }
            }
            ServerOptimizer::Momentum(momentum) => {
                fit(&mut self.first, 0.0);
                let steps = model.iter_mut().zip(update).zip(&mut self.first);
                for ((model, update), velocity) in steps {
                    *velocity = momentum * *velocity + update;
                    *model += learning_rate * *velocity;
                }
            }
            ServerOptimizer::Adagrad(constants)
            | ServerOptimizer::Adam(constants)
            | ServerOptimizer::Yogi(constants) => {
                let Adaptive { beta1, beta2, tau } = *constants;
                fit(&mut self.first, 0.0);
                fit(&mut self.second, tau * tau);
                let moments = self.first.iter_mut().zip(&mut self.second);
                for ((model, update), (first, second)) in model.iter_mut().zip(update).zip(moments)
                {
                    let square = update * update;
                    *first = beta1 * *first + (1.0 - beta1) * update;
                    *second = match optimizer {
                        ServerOptimizer::Adagrad(_) => *second + square,
                        ServerOptimizer::Adam(_) => beta2 * *second + (1.0 - beta2) * square,
                        _ => *second - (1.0 - beta2) * square * sign(*second - square),
                    };
                    *model += learning_rate * *first / (second.sqrt() + tau);
                }
            }
        }
        // A moment without bound would hold the model still from then on.
        let mut all = model.iter().chain(&self.first).chain(&self.second);
        match all.find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(value) => Err(FederateError::Aggregation {
                field: "new model or its moments",
                found: format!("{value}"),
                expected: "finite numbers".to_owned(),
            }),
        }
    }
}

/// The sign, 0 for 0.
fn sign(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { value.signum() }
}
