//! Owns a training in this process.
//!
//! Refuses to touch a store that a server has. Bound: one training; Ctrl-C and SIGTERM end it
//! after the step that runs, with a checkpoint where the description names a file for one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use serde_json::json;
use truststram_base::{Clock, Kind, SystemClock};
use truststram_machine::{RingMode, Signals, Topology, limit_library_threads, replace_file};
use truststram_store::DatasetName;
use truststram_train::{
    Checkpoints, Curve, Dataset, Go, JobSpec, Outcome, Prepare, Report, Split, Step, TextTraining,
    TrainError, Words, read_rows, read_texts, train,
};

use super::TrainArguments;
use crate::cli::db::place::{Directory, IfMissing};
use crate::cli::db::time;
use crate::cli::model::read_model;
use crate::cli::signals::Watch;
use crate::cli::{Failure, output, progress};
use crate::training::{Place, Wanted, read_dataset, read_texts as read_stored_texts, read_words};

/// What is trained on.
enum Data {
    Rows(Box<Split>),
    Texts(Box<TextTraining>, Box<Split>),
}

impl Data {
    fn train(
        &self,
        job: &JobSpec,
        cores: &[u32],
        checkpoints: Option<&Checkpoints>,
        prepare: &mut Prepare<'_>,
        note: &mut dyn FnMut(&Step) -> Go,
    ) -> Result<Option<Outcome>, TrainError> {
        match self {
            Self::Rows(split) => train(split, &job.train, cores, checkpoints, note),
            Self::Texts(training, split) => {
                training.train(split, cores, checkpoints, prepare, note)
            }
        }
    }
}

/// A training whose description is read.
struct Training<'a> {
    job: JobSpec,
    /// Where the files of the description are.
    folder: &'a Path,
    output: PathBuf,
    checkpoints: Option<Checkpoints>,
    cores: Vec<u32>,
    report: Option<&'a Path>,
}

pub(super) fn run(spec: &Path, arguments: &TrainArguments, as_json: bool) -> Result<(), Failure> {
    limit_library_threads()?;
    let is_stopped = Arc::<AtomicBool>::default();
    let stopped = Arc::clone(&is_stopped);
    let watch = Watch::start(Signals::block()?, move || stopped.store(true, Ordering::Release))?;
    let training = Training::read(spec, arguments);
    let made =
        training.and_then(|training| training.make(&arguments.directory, as_json, &is_stopped));
    watch.end()?;
    made
}

fn no_rows() -> Failure {
    Failure::Usage(anyhow!("the description needs `data`, a file, or `dataset`, a data set"))
}

fn failed(error: TrainError) -> Failure {
    match error.kind() {
        Kind::Invalid | Kind::Malformed => Failure::Usage(error.into()),
        _ => Failure::Failed(error.into()),
    }
}

impl<'a> Training<'a> {
    fn read(spec: &'a Path, arguments: &'a TrainArguments) -> Result<Self, Failure> {
        let place = spec.display();
        let wrong = |what: &str| Failure::Usage(anyhow!("{place}: {what}"));
        let text = fs::read_to_string(spec).with_context(|| format!("cannot read {place}"))?;
        let job: JobSpec = toml::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
        job.train.check().map_err(failed)?;
        let folder = spec.parent().unwrap_or(Path::new("."));
        let output = job.output.as_ref().map(|output| folder.join(output));
        let output = output.ok_or_else(|| {
            wrong("names no `output`, the file of the model; or add `--server` to have it trained")
        })?;
        let checkpoints = match &job.checkpoint {
            None => None,
            Some(checkpoint) => {
                let file = checkpoint.file.as_ref();
                let file = file.ok_or_else(|| wrong("`checkpoint` names no `file`"))?;
                let every_steps = checkpoint.every_steps;
                Some(Checkpoints { path: folder.join(file), every_steps })
            }
        };
        let mut cores = Topology::of_host()?.cores();
        cores.truncate(arguments.cores.or(job.cores).unwrap_or(1).max(1));
        let report = arguments.report.as_deref();
        Ok(Self { job, folder, output, checkpoints, cores, report })
    }

    /// What is trained on; none where it is over meanwhile.
    fn data(
        &self,
        directory: &Directory,
        prepare: &mut Prepare<'_>,
    ) -> Result<Option<Data>, Failure> {
        let spec = &self.job.train;
        if !self.job.is_of_texts() {
            let split = self.rows(directory)?.split(spec.held_out, spec.seed);
            return Ok(Some(Data::Rows(Box::new(split))));
        }
        let (training, data) = match (&self.job.data, &self.job.dataset) {
            (Some(file), None) => {
                let texts = read_texts(&self.folder.join(file)).map_err(failed)?;
                let training = self.text_training(|| {
                    let mut words = Words::default();
                    texts.texts.iter().for_each(|text| words.add(text));
                    Ok(words)
                })?;
                let data = training.dataset(&texts).map_err(failed)?;
                (training, Some(data))
            }
            (None, Some(name)) => self.stored(directory, name, |wanted, how| {
                let usage = |why: String| Failure::Usage(anyhow!(why));
                let training = self.text_training(|| read_words(wanted).map_err(usage))?;
                let data = read_stored_texts(wanted, how, &training, prepare).map_err(usage)?;
                Ok((training, data))
            })?,
            _ => return Err(no_rows()),
        };
        Ok(data.map(|data| {
            let split = data.split(spec.held_out, spec.seed);
            Data::Texts(Box::new(training), Box::new(split))
        }))
    }

    /// A training on texts, of the base or of the words of the texts.
    fn text_training(
        &self,
        words: impl FnOnce() -> Result<Words, Failure>,
    ) -> Result<TextTraining, Failure> {
        let spec = &self.job.train;
        let training = match &self.job.base {
            Some(base) if base.version.is_some() => {
                let detail = "`base.version` is for a server; here `base.model` names a file";
                return Err(Failure::Usage(anyhow!(detail)));
            }
            Some(base) => {
                let artifact = read_model(&self.folder.join(&base.model))?;
                TextTraining::of_base(spec, base.of(&artifact))
            }
            None => TextTraining::of_words(spec, &words()?),
        };
        training.map_err(failed)
    }

    /// Has `read` read a data set of the store, with the file that its rows go into.
    fn stored<T>(
        &self,
        directory: &Directory,
        name: &str,
        read: impl FnOnce(Wanted<'_>, Place<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let name =
            DatasetName::new(name).map_err(|error| Failure::Usage(anyhow!("dataset: {error}")))?;
        directory.take(IfMissing::Refuse)?.with(|local| {
            let packed = self.output.with_extension("rows");
            let wanted = Wanted { store: &local.store, name: &name, count: None };
            let is_of_classes = self.job.train.loss.is_of_classes();
            read(wanted, Place { file: &packed, is_of_classes, ring: RingMode::Auto })
        })
    }

    fn rows(&self, directory: &Directory) -> Result<Dataset, Failure> {
        let is_of_classes = self.job.train.loss.is_of_classes();
        match (&self.job.data, &self.job.dataset) {
            (Some(file), None) => read_rows(&self.folder.join(file), is_of_classes).map_err(failed),
            (None, Some(name)) => self.stored(directory, name, |wanted, how| {
                read_dataset(wanted, how).map_err(|why| Failure::Usage(anyhow!(why)))
            }),
            _ => Err(no_rows()),
        }
    }

    fn make(
        &self,
        directory: &Directory,
        as_json: bool,
        is_stopped: &AtomicBool,
    ) -> Result<(), Failure> {
        let clock = SystemClock::new();
        let is_over = || is_stopped.load(Ordering::Acquire);
        let bar = match as_json {
            true => indicatif::ProgressBar::hidden(),
            false => progress::steps("training", 0),
        };
        let mut prepare = |done: usize, all: usize| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
            bar.set_message("texts");
            !is_over()
        };
        let data = self.data(directory, &mut prepare).inspect_err(|_| bar.finish_and_clear())?;
        let mut curve = self.curve_before();
        let begun_us = clock.monotonic_us();
        let mut note = |step: &Step| {
            bar.set_length(step.steps);
            bar.set_position(step.step);
            if step.held_out_loss.is_some() || step.step.is_multiple_of(16) {
                let held_out =
                    step.held_out_loss.map_or(String::new(), |loss| format!(" ({loss:.4})"));
                bar.set_message(format!("epoch {} loss {:.4}{held_out}", step.epoch, step.loss));
            }
            curve.add(step);
            let go = if is_over() { Go::Stop } else { Go::On };
            self.keep(&curve, step, go);
            go
        };
        let files = self.checkpoints.as_ref();
        let outcome = match &data {
            Some(data) => data.train(&self.job, &self.cores, files, &mut prepare, &mut note),
            None => Ok(None),
        };
        bar.finish_and_clear();
        let Some(outcome) = outcome.map_err(failed)? else {
            return Err(Failure::Failed(match &self.checkpoints {
                Some(files) => {
                    anyhow!("stopped; the same command goes on from {}", files.path.display())
                }
                None => anyhow!("stopped; the description names no checkpoint to go on from"),
            }));
        };
        let bytes = outcome.model.to_bytes().map_err(anyhow::Error::from)?;
        write(&self.output, &bytes)?;
        if let Some(path) = self.report {
            let took_s = (clock.monotonic_us() - begun_us) as f64 / 1e6;
            let report = self.report_of(&outcome, curve, took_s, clock.utc_us());
            write(path, report.page().as_bytes())?;
        }
        if let Some(files) = &self.checkpoints {
            // Not before the model is kept: until then a kill goes on from here.
            files.remove().map_err(failed)?;
            // What stays is of no use to the next training, which begins its curve anew.
            let _ = fs::remove_file(curve_of(files));
        }
        print(&outcome, &self.output, as_json)
    }

    /// The curve up to the checkpoint that a training goes on from.
    fn curve_before(&self) -> Curve {
        let files = self.checkpoints.as_ref().filter(|files| files.path.exists());
        let curve = files.and_then(|files| fs::read(curve_of(files)).ok());
        curve.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Keeps the curve beside each checkpoint, where a report is wanted.
    fn keep(&self, curve: &Curve, step: &Step, go: Go) {
        let Some(files) = self.checkpoints.as_ref().filter(|_| self.report.is_some()) else {
            return;
        };
        if go == Go::Stop || step.step.is_multiple_of(files.every_steps.max(1)) {
            // Without it the report begins later; the training is the same.
            let _ = serde_json::to_vec(curve).map(|bytes| replace_file(&curve_of(files), &bytes));
        }
    }

    fn report_of(&self, outcome: &Outcome, curve: Curve, took_s: f64, now_us: i64) -> Report {
        let name = self.output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut report = Report::new(&name, &self.job.train, outcome, curve);
        let data = self.job.data.as_ref().map(|file| self.folder.join(file).display().to_string());
        report.say("Data", data);
        report.say("Data set", self.job.dataset.clone());
        report.say("Model", Some(self.output.display().to_string()));
        report.say("Trained", Some(time::format(now_us)));
        report.say("Seconds", Some(format!("{took_s:.1}")));
        report.say("Cores", Some(self.cores.len().to_string()));
        report.say("Program", Some(concat!("truststram ", env!("CARGO_PKG_VERSION")).to_owned()));
        report
    }
}

fn curve_of(files: &Checkpoints) -> PathBuf {
    let mut path = files.path.clone().into_os_string();
    path.push(".curve");
    path.into()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Ok(replace_file(path, bytes).with_context(|| format!("cannot write {}", path.display()))?)
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
