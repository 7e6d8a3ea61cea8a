//! Owns the clients' training in a simulated federation: the training crate behind the simulator's
//! port, with the digits divided among clients.
//!
//! Refuses to know rounds and attacks. Bound: the digits, once whole and once divided.

use std::fmt::Display;

use truststram_base::Kind;
use truststram_federate::FederateError;
use truststram_federate::round::Assignment;
use truststram_federate::simulate::{Learner, Split, Trained, partition};
use truststram_train::{
    DIGITS_HELD_OUT_SHARE, DIGITS_SEED, Dataset, LocalTrainer, LocalWork, NetSpec, TrainError,
    Trainable, digits, local_sgd,
};

/// The clients with their rows.
pub struct DigitsLearner<'a> {
    /// The model, with its first weights.
    first: Trainable,
    parts: Vec<Dataset>,
    held_out: Dataset,
    learning_rate: f64,
    /// Is told the accuracy of each new model.
    progress: &'a mut dyn FnMut(f64),
}

impl<'a> DigitsLearner<'a> {
    /// Divides the digits that the example trains on; the model has random weights.
    ///
    /// # Errors
    /// What is wrong with the layers, or with the data.
    pub fn new(
        (clients, split): (usize, Split),
        net: &NetSpec,
        learning_rate: f64,
        seed: u64,
        progress: &'a mut dyn FnMut(f64),
    ) -> Result<Self, TrainError> {
        let data = digits()?.split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED);
        let first = Trainable::untrained(&data.train, net, seed)?;
        let parts = partition(&data.train.labels, clients, split, seed);
        let parts = parts.iter().map(|rows| data.train.select(rows)).collect();
        Ok(Self { first, parts, held_out: data.held_out, learning_rate, progress })
    }

    /// The model that the federation starts with.
    pub fn first(&self) -> &Trainable {
        &self.first
    }
}

fn failed(error: impl Display) -> FederateError {
    FederateError::Port { message: error.to_string(), kind: Kind::Internal }
}

impl Learner for DigitsLearner<'_> {
    fn examples(&self, client: usize) -> usize {
        self.parts.get(client).map_or(0, Dataset::rows)
    }

    /// A client without rows, or whose training leaves the finite numbers, sends the model as it
    /// was.
    fn train(
        &mut self,
        client: usize,
        model: &[f32],
        assignment: &Assignment,
        seed: u64,
        flips: bool,
    ) -> Result<Trained, FederateError> {
        let examples = self.examples(client);
        let unchanged = Trained { weights: model.to_vec(), examples, loss: f32::NAN };
        let Some(part) = self.parts.get(client).filter(|part| part.rows() > 0) else {
            return Ok(unchanged);
        };
        let work = LocalWork {
            epochs: assignment.local_epochs as usize,
            batch_size: assignment.batch_size as usize,
            seed,
        };
        let mut wrong;
        let rows = if flips {
            wrong = part.clone();
            let last = wrong.classes.len() as u32 - 1;
            wrong.labels.iter_mut().for_each(|label| *label = last - *label);
            &wrong
        } else {
            part
        };
        let trainer = LocalTrainer::new(&self.first, rows, local_sgd(self.learning_rate));
        match trainer.and_then(|mut trainer| trainer.train(model, work, &mut || true)) {
            Ok(Some(outcome)) => {
                let (weights, loss) = (outcome.weights, outcome.loss as f32);
                Ok(Trained { weights, examples, loss })
            }
            Ok(None) | Err(TrainError::Diverged { .. }) => Ok(unchanged),
            Err(error) => Err(failed(error)),
        }
    }

    fn accuracy(&mut self, model: &[f32]) -> Result<f64, FederateError> {
        let share = self.first.accuracy(model, &self.held_out).map_err(failed)?;
        (self.progress)(share);
        Ok(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::schema_of;

    #[test]
    fn a_client_trains_on_its_own_rows() {
        let mut told = Vec::new();
        let mut progress = |share| told.push(share);
        let split = (4, Split::Shards(2));
        let mut learner =
            DigitsLearner::new(split, &NetSpec::dense(&[16]), 0.1, 1, &mut progress).unwrap();
        assert_eq!((0..5).map(|client| learner.examples(client)).sum::<usize>(), 1_438);
        let first = learner.first().weights();
        let schema = schema_of(learner.first()).unwrap();
        assert_eq!(first.len(), schema.parameters());
        learner.first().with(&first[1..]).unwrap_err();

        let work = Assignment { batch_size: 32, local_epochs: 2 };
        let mut train = |client, flips| learner.train(client, &first, &work, 7, flips).unwrap();
        let (own, other, wrong) = (train(0, false), train(1, false), train(0, true));
        assert!(own != other && own.weights != wrong.weights && own == train(0, false));
        assert_eq!(train(9, false).weights, first);
        let before = learner.accuracy(&first).unwrap();
        let after = learner.accuracy(&own.weights).unwrap();
        assert!(after > before);
        assert_eq!(told, [before, after]);
    }
}
