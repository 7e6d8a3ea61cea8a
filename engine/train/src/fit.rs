//! Owns a training from the first step to the model: epochs, shuffles, batches, checkpoints, early
//! stopping.
//!
//! Refuses to register what it made. What happens in a step depends on the seed and the step's
//! number alone, so that a training that goes on from a checkpoint ends with the same bits.
//! Bound: the data once more, standardised; the epochs asked for.

use std::path::PathBuf;

use truststram_model::Preprocessing;

use crate::checkpoint::{self, State};
use crate::data::{Dataset, Split};
use crate::error::TrainError;
use crate::evaluate::{Evaluation, evaluate};
use crate::export::{Exported, export};
use crate::feed::{Cut, Feed};
use crate::loss::{Loss, Sums, Targets};
use crate::random::Random;
use crate::spec::TrainSpec;
use crate::standard::standardise;
use crate::step::{Batch, StepOptions, Stepper};
use crate::texts;

/// Places of random numbers: those of shuffles, and those of what is left out.
const SHUFFLE: u64 = 1;
const DROPPING: u64 = 2;

/// Fewest rows that are computed at a time because memory has run short.
pub const PART_ROWS_MIN: usize = 8;

/// How far a training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Epochs done.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Steps done.
    pub step: u64,
    /// Steps in all, if it does not stop early.
    pub steps: u64,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Mean loss of held-out rows, after the last step of an epoch.
    pub held_out_loss: Option<f64>,
    /// The share of held-out rows that get their class, after the last step of an epoch.
    pub held_out_accuracy: Option<f64>,
    /// The learning rate of the step.
    pub rate: f64,
    /// Rows of the step.
    pub rows: usize,
    /// Rows that were computed at a time.
    pub part_rows: usize,
}

/// Whether a training goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// It does.
    On,
    /// It does, with half as many rows computed at a time, at least [`PART_ROWS_MIN`]: a step has
    /// as many rows as before, and needs less memory for them. Sums are rounded otherwise from here
    /// on, so a checkpoint is written at once, which says so: going on from it, or from a later
    /// one, gives the same bits.
    Shrink,
    /// It ends here, with a checkpoint if it has a file for one.
    Stop,
}

/// Where and how often a training writes down how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoints {
    /// The file.
    pub path: PathBuf,
    /// Steps from one to the next.
    pub every_steps: u64,
}

impl Checkpoints {
    /// Removes the file, once the model is kept.
    ///
    /// # Errors
    /// [`TrainError::File`].
    pub fn remove(&self) -> Result<(), TrainError> {
        checkpoint::remove(&self.path)
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The model.
    pub model: Exported,
    /// What it does with held-out rows.
    pub held_out: Evaluation,
    /// Mean loss of the last epoch.
    pub train_loss: f64,
    /// Steps made.
    pub steps: u64,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// Rows that it was trained on, and that were held out.
    pub rows: (usize, usize),
    /// Features of a row, or most tokens of a text.
    pub feature_count: usize,
}

struct Fit<'a> {
    spec: &'a TrainSpec,
    train: Feed<'a>,
    held_out: Feed<'a>,
    stepper: Stepper,
    state: State,
    order: Vec<usize>,
    features: Vec<f32>,
    classes: Vec<u32>,
    numbers: Vec<f32>,
}

/// Trains on `split.train` and tests with `split.held_out` on `cores`. `note` is told after every
/// step; when it says so, the training ends without a model. With `checkpoints` it goes on from
/// the file if there is one; [`Checkpoints::remove`] it when the model is kept.
///
/// # Errors
/// [`TrainError`] says what does not fit, or that the loss is no number any more.
pub fn train(
    split: &Split,
    spec: &TrainSpec,
    cores: &[u32],
    checkpoints: Option<&Checkpoints>,
    note: &mut dyn FnMut(&Step) -> Go,
) -> Result<Option<Outcome>, TrainError> {
    let Some(fitted) = fit(split, spec, None, cores, checkpoints, note)? else { return Ok(None) };
    let preprocessing = fitted.preprocessing.clone();
    let model = export(&fitted.stepper, spec.loss, &split.train, preprocessing)?;
    fitted.outcome(model, split, cores).map(Some)
}

/// A network that was trained.
pub(crate) struct Fitted {
    pub(crate) stepper: Stepper,
    pub(crate) preprocessing: Preprocessing,
    train_loss: f64,
    steps: u64,
}

impl Fitted {
    /// What came out, with the test of the model.
    pub(crate) fn outcome(
        self,
        model: Exported,
        split: &Split,
        cores: &[u32],
    ) -> Result<Outcome, TrainError> {
        let held_out = evaluate(&model, &split.held_out, cores)?;
        Ok(Outcome {
            model,
            held_out,
            train_loss: self.train_loss,
            steps: self.steps,
            classes: split.train.classes.clone(),
            rows: (split.train.rows(), split.held_out.rows()),
            feature_count: split.train.feature_count,
        })
    }
}

/// As [`train`], up to the network. With `start` that many of its first weights are those and not
/// random.
pub(crate) fn fit(
    split: &Split,
    spec: &TrainSpec,
    start: Option<&[f32]>,
    cores: &[u32],
    checkpoints: Option<&Checkpoints>,
    note: &mut dyn FnMut(&Step) -> Go,
) -> Result<Option<Fitted>, TrainError> {
    spec.check()?;
    split.check(spec.loss)?;
    let data = &split.train;
    if let Some(encoder) = spec.net.encoder() {
        texts::check(data, encoder)?;
        texts::check(&split.held_out, encoder)?;
    }
    let preprocessing = match spec.standardise && spec.net.encoder().is_none() {
        true => standardise(data)?,
        false => Preprocessing {
            mean: vec![0.0; data.feature_count],
            scale: vec![1.0; data.feature_count],
        },
    };
    let mut stepper = stepper(split, spec, start, cores)?;
    let files = match checkpoints {
        Some(files) => {
            let workers = cores.len().max(1);
            Some((files, checkpoint::fingerprint(spec, split, start, workers)?))
        }
        None => None,
    };
    let state = match &files {
        Some((files, print)) => checkpoint::read(&files.path, print, &mut stepper)?,
        None => None,
    };
    let mut fit = Fit {
        spec,
        train: Feed::new(data, &preprocessing),
        held_out: Feed::new(&split.held_out, &preprocessing),
        stepper,
        state: state.unwrap_or_default(),
        order: Vec::new(),
        features: Vec::new(),
        classes: Vec::new(),
        numbers: Vec::new(),
    };
    let write = |fit: &Fit<'_>| match &files {
        Some((files, print)) => checkpoint::write(&files.path, print, &fit.state, &fit.stepper),
        None => Ok(()),
    };
    while !fit.is_done() {
        let step = fit.step()?;
        let go = note(&step);
        let is_due = checkpoints.is_some_and(|files| step.step % files.every_steps.max(1) == 0);
        let is_smaller = go == Go::Shrink && fit.shrink();
        if is_due || is_smaller || go == Go::Stop {
            write(&fit)?;
        }
        if go == Go::Stop {
            return Ok(None);
        }
    }
    let (train_loss, steps) = (fit.state.epoch_loss, fit.stepper.optimiser.steps);
    if let Some(best) = fit.state.best.take() {
        fit.stepper.weights = best;
    }
    Ok(Some(Fitted { stepper: fit.stepper, preprocessing, train_loss, steps }))
}

/// The network with its first weights.
fn stepper(
    split: &Split,
    spec: &TrainSpec,
    start: Option<&[f32]>,
    cores: &[u32],
) -> Result<Stepper, TrainError> {
    let data = &split.train;
    let options = StepOptions {
        loss: spec.loss,
        class_weights: spec.class_weights.clone(),
        clip_norm: spec.clip_norm,
        optimiser: spec.optimiser,
        seed: spec.seed,
    };
    let sizes = (data.feature_count, outputs(data, spec)?);
    let mut stepper = Stepper::new(&spec.net, sizes, options, cores)?;
    if let Some(start) = start {
        let first = stepper.weights.get_mut(..start.len());
        let wrong = TrainError::Option { option: "base", expected: "weights of the network" };
        first.ok_or(wrong)?.copy_from_slice(start);
    }
    Ok(stepper)
}

/// How many numbers the network gives for a row.
pub(crate) fn outputs(data: &Dataset, spec: &TrainSpec) -> Result<usize, TrainError> {
    let classes = data.classes.len();
    let weights = spec.class_weights.len();
    if weights != 0 && weights != classes {
        return Err(TrainError::Option { option: "class_weights", expected: "one per class" });
    }
    match spec.loss {
        Loss::BinaryCrossEntropy if classes != 2 => Err(TrainError::Option {
            option: "loss",
            expected: "another one: there are not two classes",
        }),
        Loss::BinaryCrossEntropy | Loss::Mse | Loss::Huber { .. } => Ok(1),
        Loss::CrossEntropy | Loss::SmoothedCrossEntropy { .. } => Ok(classes),
    }
}

impl Fit<'_> {
    fn rows_of_step(&self) -> usize {
        self.spec.batch_size.saturating_mul(self.spec.accumulate)
    }

    fn steps_of_epoch(&self) -> u64 {
        self.train.data.rows().div_ceil(self.rows_of_step()) as u64
    }

    /// Rows that are computed at a time.
    fn part_rows(&self) -> usize {
        self.state.part_rows.unwrap_or(self.spec.batch_size)
    }

    /// Whether fewer rows are computed at a time from now on.
    fn shrink(&mut self) -> bool {
        let now = self.part_rows();
        let fewer = (now / 2).max(PART_ROWS_MIN);
        if fewer < now {
            self.state.part_rows = Some(fewer);
            self.stepper.release();
        }
        fewer < now
    }

    fn is_done(&self) -> bool {
        let stop = self.spec.early_stop;
        self.state.epoch >= self.spec.epochs
            || stop.is_some_and(|stop| self.state.epochs_since_best >= stop.patience)
    }

    fn step(&mut self) -> Result<Step, TrainError> {
        let (spec, seed) = (self.spec, self.spec.seed);
        let steps_of_epoch = self.steps_of_epoch();
        let steps = steps_of_epoch * spec.epochs as u64;
        let number = self.stepper.optimiser.steps;
        let in_epoch = number - self.state.epoch as u64 * steps_of_epoch;
        if in_epoch == 0 || self.order.is_empty() {
            self.order.clear();
            self.order.extend(0..self.train.data.rows());
            Random::of(seed, &[SHUFFLE, self.state.epoch as u64]).shuffle(&mut self.order);
        }
        let first = in_epoch as usize * self.rows_of_step();
        let last = self.order.len().min(first + self.rows_of_step());
        let mut start = first;
        while start < last {
            let cut = Cut { step_rows: self.rows_of_step(), part_rows: self.part_rows() };
            let end = cut.end(start, self.order.len());
            self.train.part(&self.order, start, cut, &mut self.features)?;
            self.gather(start, end);
            let dropping = Random::of(seed, &[DROPPING, number, start as u64]).next();
            let targets = match spec.loss.is_of_classes() {
                true => Targets::Classes(&self.classes),
                false => Targets::Numbers(&self.numbers),
            };
            let batch = Batch { features: &self.features, targets, rows: end - start };
            self.stepper.accumulate(batch, dropping);
            start = end;
        }
        let pace = spec.schedule.pace(spec.optimiser.rate(), number, steps);
        self.state.sums = self.state.sums.and(self.stepper.finish(pace));
        let loss = self.state.sums.mean();
        if !loss.is_finite() {
            return Err(TrainError::Diverged { epoch: self.state.epoch + 1 });
        }
        let part_rows = self.part_rows();
        let held_out = match in_epoch + 1 == steps_of_epoch {
            true => Some(self.end_epoch(loss)?),
            false => None,
        };
        let held_out_loss = held_out.map(|(loss, _)| loss);
        if held_out_loss.is_some_and(|loss| !loss.is_finite()) {
            return Err(TrainError::Diverged { epoch: self.state.epoch });
        }
        let (epoch, epochs) = (self.state.epoch, spec.epochs);
        Ok(Step {
            epoch,
            epochs,
            step: number + 1,
            steps,
            loss,
            held_out_loss,
            held_out_accuracy: held_out.and_then(|(_, accuracy)| accuracy),
            rate: pace.rate,
            rows: last - first,
            part_rows,
        })
    }

    /// The targets of a part.
    fn gather(&mut self, start: usize, end: usize) {
        let data = self.train.data;
        self.classes.clear();
        self.numbers.clear();
        for &row in &self.order[start..end] {
            self.classes.extend(data.labels.get(row));
            self.numbers.extend(data.values.get(row));
        }
    }

    /// Ends an epoch; returns the loss of held-out rows, and the share that get their class.
    fn end_epoch(&mut self, loss: f64) -> Result<(f64, Option<f64>), TrainError> {
        let part_rows = self.part_rows();
        let state = &mut self.state;
        state.epoch += 1;
        state.epoch_loss = loss;
        state.sums = Sums::default();
        let (held_out, accuracy) =
            held_out_loss(&mut self.stepper, &mut self.held_out, self.spec, part_rows)?;
        if let Some(stop) = self.spec.early_stop {
            if state.best.is_none() || held_out < state.best_loss - stop.gain_min {
                state.best_loss = held_out;
                state.epochs_since_best = 0;
                state.best = Some(self.stepper.weights().to_vec());
            } else {
                state.epochs_since_best += 1;
            }
        }
        Ok((held_out, accuracy))
    }
}

fn held_out_loss(
    stepper: &mut Stepper,
    rows: &mut Feed<'_>,
    spec: &TrainSpec,
    part_rows: usize,
) -> Result<(f64, Option<f64>), TrainError> {
    let data = rows.data;
    let mut features = Vec::new();
    let mut sums = Sums::default();
    let mut right = 0;
    for first in (0..data.rows()).step_by(part_rows) {
        let rows_of_part = part_rows.min(data.rows() - first);
        let targets = match spec.loss.is_of_classes() {
            true => Targets::Classes(&data.labels[first..first + rows_of_part]),
            false => Targets::Numbers(&data.values[first..first + rows_of_part]),
        };
        rows.range(first, rows_of_part, &mut features)?;
        let batch = Batch { features: &features, targets, rows: rows_of_part };
        let (of_part, right_of_part) = stepper.loss_of(batch);
        sums = sums.and(of_part);
        right += right_of_part;
    }
    let accuracy = spec.loss.is_of_classes().then(|| right as f64 / data.rows() as f64);
    Ok((sums.mean(), accuracy))
}

#[cfg(test)]
mod tests;
