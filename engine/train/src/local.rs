//! Owns the training of a model that exists, for some epochs, on the rows of one place: what a
//! client of a federation does between two models.
//!
//! Refuses to know rounds. The model's own preprocessing and classes hold, whatever the rows have.
//! Bound: the rows once more, as the network sees them; the buffers of one step.

use truststram_model::kernels::{Isa, scale_shift};

use crate::data::Dataset;
use crate::error::TrainError;
use crate::export::turn_kernels;
use crate::loss::{Sums, Targets};
use crate::optimiser::{Optimiser, OptimiserSpec};
use crate::random::Random;
use crate::schedule::Pace;
use crate::step::{Batch, StepOptions, Stepper};
use crate::trainable::Trainable;

/// Passes over the rows of one piece of work.
const EPOCHS_MAX: usize = 10_000;

/// One piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalWork {
    /// Passes over the rows.
    pub epochs: usize,
    /// Rows of one step.
    pub batch_size: usize,
    /// Of the shuffles.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalOutcome {
    /// All weights, in the order of [`Trainable::weights`].
    pub weights: Vec<f32>,
    /// Mean loss of the last pass.
    pub loss: f64,
}

/// Rows and a network that is trained on them again and again.
#[derive(Debug)]
pub struct LocalTrainer {
    stepper: Stepper,
    optimiser: OptimiserSpec,
    feature_count: usize,
    features: Vec<f32>,
    labels: Vec<u32>,
}

impl LocalTrainer {
    /// Takes rows for models like `model`: its layers, its preprocessing, its classes.
    ///
    /// # Errors
    /// [`TrainError::Dataset`] if the rows do not fit the model, [`TrainError::EmptyClass`] for a
    /// class that it does not know.
    pub fn new(
        model: &Trainable,
        rows: &Dataset,
        optimiser: OptimiserSpec,
    ) -> Result<Self, TrainError> {
        optimiser.check()?;
        rows.check_alone()?;
        if rows.feature_count != model.feature_count() {
            return Err(TrainError::Dataset("has another number of features than the model"));
        }
        let place = |class: &String| {
            let found = model.classes.iter().position(|known| known == class);
            found.ok_or_else(|| TrainError::UnknownClass { class: class.clone() })
        };
        let places: Vec<usize> = rows.classes.iter().map(place).collect::<Result<_, _>>()?;
        let labels = rows.labels.iter().map(|&label| places[label as usize] as u32).collect();
        let options = StepOptions { optimiser, ..StepOptions::default() };
        let sizes = (model.feature_count(), model.classes.len());
        let stepper = Stepper::new(&model.net, sizes, options, &[])?;
        let mut features = vec![0.0; rows.features.len()];
        let (mean, scale) = (&model.preprocessing.mean, &model.preprocessing.scale);
        scale_shift(Isa::detect(), &rows.features, mean, scale, &mut features);
        Ok(Self { stepper, optimiser, feature_count: rows.feature_count, features, labels })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Trains from these weights on; the same work gives the same bits. `go_on` is asked before
    /// every step; where it says no, nothing comes out.
    ///
    /// # Errors
    /// [`TrainError::Option`] for work that cannot be done, [`TrainError::Diverged`].
    pub fn train(
        &mut self,
        weights: &[f32],
        work: LocalWork,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<LocalOutcome>, TrainError> {
        let wrong = |option, expected| Err(TrainError::Option { option, expected });
        if weights.len() != self.stepper.weights.len() {
            return wrong("weights", "as many as the model has");
        }
        if !(1..=EPOCHS_MAX).contains(&work.epochs) || work.batch_size == 0 {
            return wrong("work", "1 to 10000 epochs of steps of at least 1 row");
        }
        self.stepper.weights.copy_from_slice(weights);
        let net = self.stepper.net().clone();
        turn_kernels(&net, &mut self.stepper.weights, false);
        self.stepper.optimiser = Optimiser::new(self.optimiser, weights.len());
        let pace = Pace { rate: self.optimiser.rate(), momentum: None };
        let mut order: Vec<usize> = (0..self.rows()).collect();
        let (mut features, mut classes) = (Vec::new(), Vec::new());
        let mut loss = 0.0;
        for epoch in 0..work.epochs {
            Random::of(work.seed, &[epoch as u64]).shuffle(&mut order);
            let mut sums = Sums::default();
            for part in order.chunks(work.batch_size) {
                if !go_on() {
                    return Ok(None);
                }
                features.clear();
                classes.clear();
                for &row in part {
                    let row_features = &self.features[row * self.feature_count..];
                    features.extend_from_slice(&row_features[..self.feature_count]);
                    classes.push(self.labels[row]);
                }
                let targets = Targets::Classes(&classes);
                self.stepper
                    .accumulate(Batch { features: &features, targets, rows: part.len() }, 0);
                sums = sums.and(self.stepper.finish(pace));
            }
            loss = sums.mean();
            if !loss.is_finite() {
                return Err(TrainError::Diverged { epoch: epoch + 1 });
            }
        }
        let mut weights = self.stepper.weights.clone();
        turn_kernels(&net, &mut weights, true);
        match weights.iter().all(|weight| weight.is_finite()) {
            true => Ok(Some(LocalOutcome { weights, loss })),
            false => Err(TrainError::Diverged { epoch: work.epochs }),
        }
    }
}

/// Plain gradient descent, which federated clients use.
pub fn local_sgd(learning_rate: f64) -> OptimiserSpec {
    OptimiserSpec::Sgd { learning_rate, momentum: 0.0, nesterov: false, weight_decay: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, digits};
    use crate::dense::{TrainOptions, train_dense};

    fn model() -> (Trainable, Dataset) {
        let split = digits().unwrap().split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED);
        let options = TrainOptions { epochs: 1, hidden: vec![16], ..Default::default() };
        let trained = train_dense(&split, &options, &[0], &mut |_| {}).unwrap();
        (Trainable::parse(&trained.file.to_bytes().unwrap()).unwrap(), split.train)
    }

    #[test]
    fn a_model_goes_on_from_where_it_is() {
        let (file, rows) = model();
        let mut trainer = LocalTrainer::new(&file, &rows, local_sgd(0.05)).unwrap();
        let first = file.weights();
        let work = LocalWork { epochs: 1, batch_size: 32, seed: 3 };
        let mut always = || true;
        let once = trainer.train(&first, work, &mut always).unwrap().unwrap();
        let more = trainer.train(&once.weights, work, &mut always).unwrap().unwrap();
        assert!(more.loss < once.loss, "{} {}", more.loss, once.loss);
        // What came before leaves no trace.
        assert_eq!(trainer.train(&first, work, &mut always).unwrap().unwrap(), once);
        let other = LocalWork { seed: 4, ..work };
        assert_ne!(trainer.train(&first, other, &mut always).unwrap().unwrap(), once);
        assert_eq!(trainer.train(&first, work, &mut || false).unwrap(), None);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (file, rows) = model();
        let check = |change: &dyn Fn(&mut Dataset), expected: &str| {
            let mut rows = rows.clone();
            change(&mut rows);
            let error = LocalTrainer::new(&file, &rows, local_sgd(0.05)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&|rows| rows.classes[3] = "three".to_owned(), "`three`");
        check(&|rows| rows.features[7] = f32::NAN, "not finite");
        check(&|rows| (rows.features, rows.labels) = (vec![], vec![]), "no rows");
        check(
            &|rows| {
                rows.feature_count = 32;
                rows.features.truncate(32 * rows.labels.len());
            },
            "another number of features",
        );
        LocalTrainer::new(&file, &rows, local_sgd(-1.0)).unwrap_err();
        let mut trainer = LocalTrainer::new(&file, &rows, local_sgd(1e30)).unwrap();
        let work = LocalWork { epochs: 2, batch_size: 32, seed: 3 };
        let error = trainer.train(&file.weights(), work, &mut || true).unwrap_err();
        assert!(matches!(error, TrainError::Diverged { .. }));
        trainer.train(&[0.0], work, &mut || true).unwrap_err();
        let none = LocalWork { epochs: 0, ..work };
        trainer.train(&file.weights(), none, &mut || true).unwrap_err();
    }
}
