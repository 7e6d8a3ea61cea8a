//! Owns the training of a dense classifier: standardised inputs, shuffled batches, AdamW, and the
//! test on rows it has not seen.
//!
//! Refuses to register what it made. On one thread the same seed gives the same bits. Bound: the
//! epochs asked for; the evaluation's threads by the cores given.

use truststram_model::ModelFile;

use crate::data::Split;
use crate::error::TrainError;
use crate::export::Exported;
use crate::fit::{Go, train};
use crate::net::NetSpec;
use crate::optimiser::OptimiserSpec;
use crate::spec::TrainSpec;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Neurons of each hidden layer.
    pub hidden: Vec<usize>,
    /// Passes over the data.
    pub epochs: usize,
    /// Rows per step.
    pub batch_size: usize,
    /// AdamW's step size.
    pub learning_rate: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// Of the first weights and the shuffles.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            hidden: vec![128, 64],
            epochs: 40,
            batch_size: 32,
            learning_rate: 1e-3,
            weight_decay: 0.01,
            seed: 1,
        }
    }
}

/// How far training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Epochs done.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Mean loss of the epoch just done.
    pub loss: f32,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model.
    pub file: ModelFile,
    /// Share of held-out rows that it gets right.
    pub held_out_accuracy: f64,
    /// Mean loss of the last epoch.
    pub train_loss: f32,
    /// Held-out rows by true class, then by predicted class.
    pub confusion: Vec<Vec<u32>>,
}

/// Trains on `split.train` and tests with `split.held_out` on `cores`; the training itself runs on
/// the first of them.
///
/// # Errors
/// [`TrainError`] names the option or what is wrong with the data.
pub fn train_dense(
    split: &Split,
    options: &TrainOptions,
    cores: &[u32],
    progress: &mut dyn FnMut(Progress),
) -> Result<Trained, TrainError> {
    let wrong = |option, expected| Err(TrainError::Option { option, expected });
    if options.hidden.len() > 16 || options.hidden.contains(&0) {
        return wrong("hidden", "at most 16 layers of at least 1 neuron");
    }
    let spec = TrainSpec {
        seed: options.seed,
        epochs: options.epochs,
        batch_size: options.batch_size,
        net: NetSpec::dense(&options.hidden),
        optimiser: OptimiserSpec::AdamW {
            learning_rate: options.learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: options.weight_decay,
            amsgrad: false,
        },
        ..TrainSpec::default()
    };
    let first = &cores[..cores.len().min(1)];
    let outcome = train(split, &spec, first, None, &mut |step| {
        if step.held_out_loss.is_some() {
            let (epoch, epochs) = (step.epoch, step.epochs);
            progress(Progress { epoch, epochs, loss: step.loss as f32 });
        }
        Go::On
    })?;
    let outcome = outcome.ok_or(TrainError::Dataset("was not trained on to the end"))?;
    let Exported::Dense(file) = outcome.model else {
        return wrong("hidden", "a dense network");
    };
    Ok(Trained {
        file: *file,
        held_out_accuracy: outcome.held_out.accuracy.unwrap_or_default(),
        train_loss: outcome.train_loss as f32,
        confusion: outcome.held_out.confusion,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, digits};

    fn split() -> Split {
        digits().unwrap().split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED)
    }

    #[test]
    fn digits_are_learnt() {
        let mut losses = Vec::new();
        let mut note = |progress: Progress| losses.push(progress.loss);
        let trained = train_dense(&split(), &TrainOptions::default(), &[0], &mut note).unwrap();
        assert!(trained.held_out_accuracy >= 0.95, "{}", trained.held_out_accuracy);
        assert_eq!(losses.len(), TrainOptions::default().epochs);
        assert!(losses.last() < losses.first());
        let rows: u32 = trained.confusion.iter().flatten().sum();
        assert_eq!(rows as usize, split().held_out.rows());
    }

    #[test]
    fn the_same_seed_gives_the_same_bits() {
        let bytes = |seed: u64| {
            let options = TrainOptions { epochs: 2, hidden: vec![16], seed, ..Default::default() };
            let trained = train_dense(&split(), &options, &[0], &mut |_| {}).unwrap();
            trained.file.to_bytes().unwrap()
        };
        assert!(bytes(5) == bytes(5));
        assert!(bytes(5) != bytes(6));
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let mut split = split();
        split.held_out.classes.push("ten".to_owned());
        let trained = train_dense(&split, &TrainOptions::default(), &[0], &mut |_| {});
        assert!(matches!(trained, Err(TrainError::Dataset(_))));
    }

    #[test]
    fn options_out_of_range_are_named() {
        let check = |change: &dyn Fn(&mut TrainOptions), expected: &str| {
            let mut options = TrainOptions::default();
            change(&mut options);
            let error = train_dense(&split(), &options, &[0], &mut |_| {}).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(&|options| options.hidden = vec![0], "`hidden`");
        check(&|options| options.hidden = vec![usize::MAX], "net.layer.outputs");
        check(&|options| options.hidden = vec![1; 17], "`hidden`");
        check(&|options| options.hidden = vec![65_536; 16], "fewer weights");
        check(&|options| options.epochs = 0, "`epochs`");
        check(&|options| options.batch_size = 0, "`batch_size`");
        check(&|options| options.learning_rate = f64::NAN, "`learning_rate`");
        check(&|options| options.weight_decay = -1.0, "`weight_decay`");
        check(&|options| (options.learning_rate, options.epochs) = (1e30, 3), "not finite");
    }
}
