//! Owns the file from which a training goes on after it was ended, however it was.
//!
//! ```text
//! metadata  "truststram.training": JSON of where it is and what it is a training of
//! tensors   `weights`, `kept.0` to `kept.2` of the optimiser, `best`; f32, where they are any
//! ```
//!
//! Refuses to go on with another description, other data or another number of workers. Bound: the
//! weights five times; the file is whole or the one before, whatever happens.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use truststram_base::limits::MODEL_FILE_BYTES_MAX;
use truststram_machine::replace_file;

use crate::data::Split;
use crate::error::TrainError;
use crate::loss::Sums;
use crate::random::Random;
use crate::spec::TrainSpec;
use crate::step::Stepper;

const KEY: &str = "truststram.training";
const WEIGHTS: &str = "weights";
const KEPT: [&str; 3] = ["kept.0", "kept.1", "kept.2"];
const BEST: &str = "best";

/// Where a training is, besides weights and moments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    /// Epochs done.
    pub(crate) epoch: usize,
    /// Of the epoch so far.
    pub(crate) sums: Sums,
    /// Mean loss of the last whole epoch.
    pub(crate) epoch_loss: f64,
    /// The smallest loss of held-out rows, and the weights that had it.
    pub(crate) best_loss: f64,
    pub(crate) best: Option<Vec<f32>>,
    /// Epochs without a better one.
    pub(crate) epochs_since_best: usize,
    /// Rows of a part of a step, where memory has run short; from here on.
    pub(crate) part_rows: Option<usize>,
}

/// The same as JSON; numbers of f64 by their bits, so that none changes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    fingerprint: String,
    steps: u64,
    epoch: usize,
    epochs_since_best: usize,
    #[serde(default)]
    part_rows: Option<usize>,
    /// The sums of loss and weight, the loss of the epoch before, the best loss.
    bits: [u64; 4],
}

/// What a checkpoint must be of.
pub(crate) fn fingerprint(
    spec: &TrainSpec,
    split: &Split,
    start: Option<&[f32]>,
    workers: usize,
) -> Result<String, TrainError> {
    let mut hash = Random::new(0);
    for data in [&split.train, &split.held_out] {
        let mut add = |word: u64| hash = Random::of(hash.next(), &[word]);
        data.each_row(&mut |row| row.iter().for_each(|x| add(u64::from(x.to_bits()))))?;
        data.values.iter().for_each(|x| add(u64::from(x.to_bits())));
        data.labels.iter().for_each(|label| add(u64::from(*label)));
        for byte in data.classes.iter().flat_map(|class| class.bytes().chain([0])) {
            hash = Random::of(hash.next(), &[u64::from(byte)]);
        }
    }
    for weight in start.unwrap_or_default() {
        hash = Random::of(hash.next(), &[u64::from(weight.to_bits())]);
    }
    let spec = serde_json::to_string(spec).map_err(|source| json(Path::new("spec"), source))?;
    Ok(format!("{spec}; data {:016x}; {workers} workers", hash.next()))
}

fn json(path: &Path, source: serde_json::Error) -> TrainError {
    damaged(path, &source.to_string())
}

fn damaged(path: &Path, what: &str) -> TrainError {
    TrainError::Checkpoint { path: path.to_owned(), what: what.to_owned() }
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> TrainError {
    TrainError::File { action, path: path.to_owned(), source }
}

/// Writes the file so that it is the old one or all of the new one, and durable.
pub(crate) fn write(
    path: &Path,
    fingerprint: &str,
    state: &State,
    stepper: &Stepper,
) -> Result<(), TrainError> {
    let bits = [state.sums.loss, state.sums.weight, state.epoch_loss, state.best_loss];
    let written = Written {
        fingerprint: fingerprint.to_owned(),
        steps: stepper.optimiser.steps,
        epoch: state.epoch,
        epochs_since_best: state.epochs_since_best,
        part_rows: state.part_rows,
        bits: bits.map(f64::to_bits),
    };
    let text = serde_json::to_string(&written).map_err(|source| json(path, source))?;
    let named = [(WEIGHTS, stepper.weights())].into_iter();
    let named = named.chain(KEPT.into_iter().zip(stepper.optimiser.kept.iter().map(Vec::as_slice)));
    let named = named.chain(state.best.as_deref().map(|best| (BEST, best)));
    let bytes_of = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    let named: Vec<(&str, Vec<u8>)> =
        named.map(|(name, values)| (name, bytes_of(values))).collect();
    let mut tensors = Vec::with_capacity(named.len());
    for (name, bytes) in &named {
        let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
        tensors.push((*name, view.map_err(|error| damaged(path, &error.to_string()))?));
    }
    let bytes = safetensors::serialize(tensors, Some(HashMap::from([(KEY.to_owned(), text)])))
        .map_err(|error| damaged(path, &error.to_string()))?;
    replace_file(path, &bytes).map_err(|source| io("write", path, source))
}

/// Removes the file of a training that is done.
pub(crate) fn remove(path: &Path) -> Result<(), TrainError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(io("remove", path, source)),
        _ => Ok(()),
    }
}

/// Reads the file, if there is one, into a network that is otherwise new.
pub(crate) fn read(
    path: &Path,
    fingerprint: &str,
    stepper: &mut Stepper,
) -> Result<Option<State>, TrainError> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened
            .and_then(|file| file.take(5 * MODEL_FILE_BYTES_MAX).read_to_end(&mut bytes))
            .map_err(|source| io("read", path, source))?,
    };
    let wrong = |error: safetensors::SafeTensorError| damaged(path, &error.to_string());
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(wrong)?;
    let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let text = text.ok_or_else(|| damaged(path, "it has no description"))?;
    let written: Written = serde_json::from_str(text).map_err(|source| json(path, source))?;
    if written.fingerprint != fingerprint {
        return Err(damaged(path, "it is of another description, other data or other cores"));
    }
    let tensors = SafeTensors::deserialize(&bytes).map_err(wrong)?;
    let values = |name: &str, count: usize| -> Result<Vec<f32>, TrainError> {
        let tensor = tensors.tensor(name).map_err(wrong)?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != [count] {
            return Err(damaged(path, "it has weights of another network"));
        }
        let values = tensor.data().as_chunks::<4>().0;
        Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    };
    let count = stepper.weights.len();
    stepper.weights = values(WEIGHTS, count)?;
    for (name, kept) in KEPT.into_iter().zip(&mut stepper.optimiser.kept) {
        *kept = values(name, kept.len())?;
    }
    stepper.optimiser.steps = written.steps;
    let best = match tensors.names().into_iter().any(|name| name == BEST) {
        true => Some(values(BEST, count)?),
        false => None,
    };
    let [loss, weight, epoch_loss, best_loss] = written.bits.map(f64::from_bits);
    Ok(Some(State {
        epoch: written.epoch,
        sums: Sums { loss, weight },
        epoch_loss,
        best_loss,
        best,
        epochs_since_best: written.epochs_since_best,
        part_rows: written.part_rows,
    }))
}
