//! Owns `train`: a model from a description in TOML and a file of rows.
//!
//! Refuses to register the model: `model import` does. Bound: one training; Ctrl-C and SIGTERM end
//! it after the step that runs, with a checkpoint where the description names a file for one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use serde_json::json;
use truststram_base::Kind;
use truststram_machine::{Signals, Topology, limit_library_threads, replace_file};
use truststram_model::artifact::Artifact;
use truststram_train::{
    BaseModel, Checkpoints, Go, JobSpec, Outcome, Split, Step, TextRows, TrainError, read_rows,
    read_texts, train, train_texts,
};

use super::model::read_model;
use super::signals::Watch;
use super::{Failure, output, progress};

#[derive(Debug, clap::Args)]
pub(super) struct TrainArguments {
    /// The description: a file of TOML.
    spec: PathBuf,
    /// How many cores to train on; the same number of cores and the same seed give the same model.
    #[arg(long, default_value_t = 1)]
    cores: usize,
}

pub(super) fn run(arguments: &TrainArguments, as_json: bool) -> Result<(), Failure> {
    limit_library_threads()?;
    let is_stopped = Arc::<AtomicBool>::default();
    let stopped = Arc::clone(&is_stopped);
    let watch = Watch::start(Signals::block()?, move || stopped.store(true, Ordering::Release))?;
    let made = make(arguments, as_json, &is_stopped);
    watch.end()?;
    made
}

fn make(arguments: &TrainArguments, as_json: bool, is_stopped: &AtomicBool) -> Result<(), Failure> {
    let place = arguments.spec.display();
    let text =
        fs::read_to_string(&arguments.spec).with_context(|| format!("cannot read {place}"))?;
    let job: JobSpec =
        toml::from_str(&text).map_err(|error| Failure::Usage(anyhow!("{place}: {error}")))?;
    job.train.check().map_err(failed)?;
    let folder = arguments.spec.parent().unwrap_or(Path::new("."));
    let data = Data::read(&job, folder)?;
    let checkpoints = job.checkpoint.as_ref().map(|checkpoint| Checkpoints {
        path: folder.join(&checkpoint.file),
        every_steps: checkpoint.every_steps,
    });
    let mut cores = Topology::of_host()?.cores();
    cores.truncate(arguments.cores.max(1));
    let bar = match as_json {
        true => indicatif::ProgressBar::hidden(),
        false => progress::steps("training", 0),
    };
    let mut note = |step: &Step| {
        bar.set_length(step.steps);
        bar.set_position(step.step);
        if step.held_out_loss.is_some() || step.step.is_multiple_of(16) {
            let held_out = step.held_out_loss.map_or(String::new(), |loss| format!(" ({loss:.4})"));
            bar.set_message(format!("epoch {} loss {:.4}{held_out}", step.epoch, step.loss));
        }
        if is_stopped.load(Ordering::Acquire) { Go::Stop } else { Go::On }
    };
    let outcome = data.train(&job, &cores, checkpoints.as_ref(), &mut note);
    bar.finish_and_clear();
    let Some(outcome) = outcome.map_err(failed)? else {
        return Err(Failure::Failed(match checkpoints {
            Some(files) => {
                anyhow!("stopped; the same command goes on from {}", files.path.display())
            }
            None => anyhow!("stopped; the description names no checkpoint to go on from"),
        }));
    };
    let path = folder.join(&job.output);
    let bytes = outcome.model.to_bytes().map_err(anyhow::Error::from)?;
    replace_file(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    if let Some(files) = &checkpoints {
        // Not before the model is kept: until then a kill goes on from here.
        files.remove().map_err(failed)?;
    }
    print(&outcome, &path, as_json)
}

/// What is trained on.
enum Data {
    Rows(Split),
    Texts(TextRows, Box<Option<Artifact>>),
}

impl Data {
    fn read(job: &JobSpec, folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(&job.data);
        if !job.is_of_texts() {
            let data = read_rows(&path, job.train.loss.is_of_classes()).map_err(failed)?;
            return Ok(Self::Rows(data.split(job.train.held_out, job.train.seed)));
        }
        let base = match &job.base {
            Some(base) => Some(read_model(&folder.join(&base.model))?),
            None => None,
        };
        Ok(Self::Texts(read_texts(&path).map_err(failed)?, Box::new(base)))
    }

    fn train(
        &self,
        job: &JobSpec,
        cores: &[u32],
        checkpoints: Option<&Checkpoints>,
        note: &mut dyn FnMut(&Step) -> Go,
    ) -> Result<Option<Outcome>, TrainError> {
        match self {
            Self::Rows(split) => train(split, &job.train, cores, checkpoints, note),
            Self::Texts(rows, artifact) => {
                let base = (**artifact).as_ref().zip(job.base.as_ref()).map(|(artifact, base)| {
                    BaseModel { artifact, tuned: base.tuned, length_max: base.length_max }
                });
                train_texts(rows, &job.train, base, cores, checkpoints, note)
            }
        }
    }
}

fn failed(error: TrainError) -> Failure {
    match error.kind() {
        Kind::Invalid | Kind::Malformed => Failure::Usage(error.into()),
        _ => Failure::Failed(error.into()),
    }
}

fn print(outcome: &Outcome, path: &Path, as_json: bool) -> Result<(), Failure> {
    let held_out = &outcome.held_out;
    if as_json {
        return output::json(&json!({
            "output": path, "steps": outcome.steps, "train_loss": outcome.train_loss,
            "held_out": {
                "accuracy": held_out.accuracy,
                "mean_square": held_out.mean_square,
                "confusion": held_out.confusion,
            },
        }));
    }
    let mut rows = vec![
        vec!["file".to_owned(), path.display().to_string()],
        vec!["steps".to_owned(), outcome.steps.to_string()],
        vec!["loss".to_owned(), format!("{:.6}", outcome.train_loss)],
    ];
    let named =
        [("held-out accuracy", held_out.accuracy), ("held-out error", held_out.mean_square)];
    for (name, value) in named {
        rows.extend(value.map(|value| vec![name.to_owned(), format!("{value:.4}")]));
    }
    output::text(&output::table(&["trained", ""], &rows))
}
