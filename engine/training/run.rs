//! Owns one job from its rows to its registered version: progress told, checkpoints kept, memory
//! watched.
//!
//! Refuses to choose which job. Bound: what its training needs; it looks at the memory once a
//! second.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use truststram_api::ports::{TrainingProgress, TrainingResult};
use truststram_machine::{MemoryRoom, Pressure, Resource, replace_file};
use truststram_train::{
    Checkpoints, Curve, Dataset, Go, Outcome, PART_ROWS_MIN, Prepare, Report, Step, TextTraining,
    bytes_needed, train,
};

use super::job::{Asked, Job};
use super::jobs::Jobs;
use super::meter::Meter;
use super::rows::{Place, Wanted};
use super::{base, register, report, rows};

/// How often watchers are told of epochs, and how often of steps.
const TELL_EPOCHS_EVERY_US: u64 = 50_000;
const TELL_EVERY_US: u64 = 250_000;
/// How often the memory is looked at.
const LOOK_EVERY_US: u64 = 1_000_000;
/// The share of ten seconds in which everybody waited for memory, above which it runs short; in
/// percent.
const STALLED_MAX: f64 = 10.0;
/// How long a batch that was made smaller has to show in that share.
const SHOWS_AFTER_US: u64 = 10_000_000;

/// How a job ended.
pub(super) enum End {
    Done(TrainingResult),
    Cancelled,
    Interrupted,
    Failed(String),
}

/// Trains a job to its end, or until `stop`.
pub(super) fn run(jobs: &Jobs, job: &Job, stop: &AtomicBool) -> End {
    match trained(jobs, job, stop) {
        Ok(Some(result)) => End::Done(result),
        Ok(None) if jobs.is_closing() => End::Interrupted,
        Ok(None) => End::Cancelled,
        Err(why) => End::Failed(why),
    }
}

fn trained(jobs: &Jobs, job: &Job, stop: &AtomicBool) -> Result<Option<TrainingResult>, String> {
    let cores = &jobs.means.cores;
    let asked = Asked::of_text(job.spec.clone(), cores.len()).map_err(|failure| failure.detail)?;
    if let Some(result) = register::made(jobs, job, &asked) {
        return Ok(Some(result));
    }
    let spec = &asked.spec.train;
    let folder = jobs.folder(job.id);
    fs::create_dir_all(&folder).map_err(|error| place(&folder, &error))?;
    let texts = text_training(jobs, job, &asked)?;
    let mut told_us = None;
    let mut prepare = |done: usize, all: usize| {
        tell_of_texts(jobs, job, (done, all), &mut told_us);
        !stop.load(Ordering::Acquire)
    };
    let Some(data) = rows_of(jobs, job, &asked, texts.as_ref(), &mut prepare)? else {
        return Ok(None);
    };
    let split = data.split(spec.held_out, spec.seed);
    drop(data);
    let cores = &cores[..asked.spec.cores.unwrap_or(1).min(cores.len())];
    let need = match &texts {
        Some(texts) => texts.bytes_needed(&split, cores.len()),
        None => bytes_needed(&split, spec, cores.len()),
    };
    let need = need.map_err(|error| error.to_string())?;
    // A host that does not say has room.
    fits(need, MemoryRoom::of_host().map_or(u64::MAX, |room| room.available_bytes))?;
    let every_steps = asked.spec.checkpoint.clone().unwrap_or_default().every_steps;
    let files = Checkpoints { path: folder.join("checkpoint"), every_steps };
    let mut watch = Watch::new(jobs, job, &folder, every_steps, stop);
    let mut note = |step: &Step| watch.note(step);
    let outcome = match &texts {
        Some(texts) => texts.train(&split, cores, Some(&files), &mut prepare, &mut note),
        None => train(&split, spec, cores, Some(&files), &mut note),
    };
    let outcome = outcome.map_err(|error| error.to_string())?;
    if let Some(why) = watch.failure {
        return Err(why);
    }
    let curve = watch.curve;
    let Some(outcome) = outcome else { return Ok(None) };
    let title = format!("{}, job {}", asked.model, job.id);
    let mut report = Report::new(&title, spec, &outcome, curve);
    report.say("Program", Some(concat!("truststram ", env!("CARGO_PKG_VERSION")).to_owned()));
    report::keep(&folder, &report)?;
    ended(jobs, job, &asked, &outcome, (&files, stop))
}

fn wanted<'a>(jobs: &'a Jobs, job: &Job, asked: &'a Asked) -> Wanted<'a> {
    Wanted { store: &jobs.means.store, name: &asked.dataset, count: Some(job.rows) }
}

/// The training of a job on texts; none of one on features.
fn text_training(jobs: &Jobs, job: &Job, asked: &Asked) -> Result<Option<TextTraining>, String> {
    let Some(base) = &asked.spec.base else {
        if !asked.spec.is_of_texts() {
            return Ok(None);
        }
        let words = rows::read_words(wanted(jobs, job, asked))?;
        let training = TextTraining::of_words(&asked.spec.train, &words);
        return training.map(Some).map_err(|error| error.to_string());
    };
    let entry = base::chosen(&jobs.means.store, base);
    let training =
        entry.and_then(|entry| base::training(&jobs.means.data_dir, &entry, &asked.spec));
    training.map(Some).map_err(|failure| failure.detail)
}

/// The rows of a job, packed in its folder; none where it ends meanwhile.
fn rows_of(
    jobs: &Jobs,
    job: &Job,
    asked: &Asked,
    texts: Option<&TextTraining>,
    prepare: &mut Prepare<'_>,
) -> Result<Option<Dataset>, String> {
    let packed = jobs.folder(job.id).join("rows");
    let is_of_classes = asked.spec.train.loss.is_of_classes();
    let how = Place { file: &packed, is_of_classes, ring: jobs.means.ring };
    let wanted = wanted(jobs, job, asked);
    match texts {
        Some(texts) => rows::read_texts(wanted, how, texts, prepare),
        None => rows::read(wanted, how).map(Some),
    }
}

/// Tells how many texts are ready for the next step on their way, now and then.
fn tell_of_texts(jobs: &Jobs, job: &Job, (done, all): (usize, usize), told_us: &mut Option<u64>) {
    let now_us = jobs.means.clock.monotonic_us();
    if told_us.is_none_or(|told_us| now_us.saturating_sub(told_us) >= TELL_EVERY_US) {
        *told_us = Some(now_us);
        let texts = Some(done as u64);
        jobs.note(job.id, TrainingProgress { texts, ..job.progress });
        jobs.events.tell(job.id, "texts", &json!({ "texts": done, "of": all }));
    }
}

/// Refuses what would have the kernel end the process.
fn fits(need: u64, room: u64) -> Result<(), String> {
    match need > room {
        true => Err(format!(
            "it needs {} MiB and there are {}; lower `batch_size` or choose a smaller net",
            need >> 20,
            room >> 20
        )),
        false => Ok(()),
    }
}

fn ended(
    jobs: &Jobs,
    job: &Job,
    asked: &Asked,
    outcome: &Outcome,
    (files, stop): (&Checkpoints, &AtomicBool),
) -> Result<Option<TrainingResult>, String> {
    let result = register::register(jobs, job, asked, outcome, stop)?;
    if result.is_some() {
        // Not before the model is kept: until then a kill goes on from here.
        files.remove().map_err(|error| error.to_string())?;
    }
    Ok(result)
}

fn place(path: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// What looks on while a job is trained.
struct Watch<'a> {
    jobs: &'a Jobs,
    id: u64,
    folder: &'a Path,
    every_steps: u64,
    stop: &'a AtomicBool,
    curve: Curve,
    meter: Option<Meter>,
    progress: TrainingProgress,
    /// A checkpoint that is there when the next step is told of.
    written: Option<u64>,
    told_us: u64,
    epoch_us: u64,
    looked_us: Option<u64>,
    shrunk_us: Option<u64>,
    failure: Option<String>,
}

impl<'a> Watch<'a> {
    fn new(
        jobs: &'a Jobs,
        job: &Job,
        folder: &'a Path,
        every_steps: u64,
        stop: &'a AtomicBool,
    ) -> Self {
        let curve = fs::read(folder.join("curve.json")).ok();
        let curve = curve.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            jobs,
            id: job.id,
            folder,
            every_steps,
            stop,
            curve: curve.unwrap_or_default(),
            meter: None,
            progress: job.progress,
            written: None,
            told_us: 0,
            epoch_us: 0,
            looked_us: None,
            shrunk_us: None,
            failure: None,
        }
    }

    fn note(&mut self, step: &Step) -> Go {
        let now_us = self.jobs.means.clock.monotonic_us();
        self.curve.add(step);
        self.tell(step, now_us);
        let is_due = step.step.is_multiple_of(self.every_steps);
        let is_over = self.stop.load(Ordering::Acquire);
        let is_short = !is_over && self.runs_short(step, now_us);
        if is_due || is_over || is_short {
            // Before the checkpoint, so that it is never behind it.
            let path = self.folder.join("curve.json");
            let curve = serde_json::to_vec(&self.curve).unwrap_or_default();
            if let Err(error) = replace_file(&path, &curve) {
                self.failure = Some(place(&path, &error));
                return Go::Stop;
            }
            self.written = Some(step.step);
        }
        match (is_over, is_short) {
            (true, _) => Go::Stop,
            (false, true) => Go::Shrink,
            (false, false) => Go::On,
        }
    }

    fn tell(&mut self, step: &Step, now_us: u64) {
        if let Some(written) = self.written.take() {
            self.jobs.got_further(self.id);
            self.jobs.events.tell(self.id, "checkpoint", &json!({ "step": written }));
        }
        // What came before the first step is no part of the pace.
        let meter = self.meter.get_or_insert(Meter::new(now_us));
        let pace = meter.add(step, now_us);
        let is_end = step.held_out_loss.is_some();
        let before = &self.progress;
        self.progress = TrainingProgress {
            step: step.step,
            steps: step.steps,
            epoch: step.epoch as u64,
            epochs: step.epochs as u64,
            loss: Some(step.loss),
            held_out_loss: step.held_out_loss.or(before.held_out_loss),
            held_out_accuracy: match is_end {
                true => step.held_out_accuracy,
                false => before.held_out_accuracy,
            },
            texts: None,
            batch_size: step.part_rows as u64,
            samples_per_second: pace.map(|(rows, _)| rows),
            eta_s: pace.map(|(_, left)| left),
        };
        let is_time = now_us.saturating_sub(self.told_us) >= TELL_EVERY_US;
        if is_time || is_end {
            self.jobs.note(self.id, self.progress);
        }
        let is_told = match is_end {
            true => {
                let since = now_us.saturating_sub(self.epoch_us);
                step.step == step.steps || since >= TELL_EPOCHS_EVERY_US
            }
            false => is_time,
        };
        if is_told {
            let name = if is_end { "epoch" } else { "step" };
            self.jobs.events.tell(self.id, name, &json!(self.progress));
            self.told_us = now_us;
            if is_end {
                self.epoch_us = now_us;
            }
        }
    }

    /// Whether memory runs short, and fewer rows at a time would help.
    fn runs_short(&mut self, step: &Step, now_us: u64) -> bool {
        let is_time = |since: Option<u64>, every_us| {
            since.is_none_or(|since| now_us.saturating_sub(since) >= every_us)
        };
        if step.part_rows <= PART_ROWS_MIN
            || !is_time(self.looked_us, LOOK_EVERY_US)
            || !is_time(self.shrunk_us, SHOWS_AFTER_US)
        {
            return false;
        }
        self.looked_us = Some(now_us);
        // A host that does not say is not short of anything.
        let used = MemoryRoom::of_host().map_or(0.0, |room| room.used_share());
        let stalled = Pressure::of_host(Resource::Memory).map_or(0.0, |found| found.full_avg10);
        if used <= self.jobs.means.limits.memory_used_max && stalled <= STALLED_MAX {
            return false;
        }
        self.shrunk_us = Some(now_us);
        let to = (step.part_rows / 2).max(PART_ROWS_MIN);
        let data = json!({
            "step": step.step, "from": step.part_rows, "to": to, "memory_used": used,
            "memory_stalled_percent": stalled,
        });
        tracing::warn!(
            job = self.id,
            from = step.part_rows,
            to,
            used,
            stalled,
            "memory runs short"
        );
        self.jobs.events.tell(self.id, "batch_size", &data);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn what_is_too_large_is_refused_before_it_is_allocated() {
        assert_eq!(fits(10 << 20, 10 << 20), Ok(()));
        let why = fits(11 << 20, 10 << 20).unwrap_err();
        assert!(why.contains("needs 11 MiB and there are 10"), "{why}");
    }
}
