//! Owns what is done to jobs: made, begun, ended, gone on with, forgotten.
//!
//! A change is in the store before anybody sees it. Refuses to train. Bound: the queue and the jobs
//! that are kept, both by the configuration; one change at a time.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use truststram_api::ports::{Failure, ModelFailure, TrainingProgress, TrainingState};
use truststram_base::{Clock, Kind};
use truststram_machine::RingMode;
use truststram_store::{DatasetInfo, Store, StoreError};

use super::job::{Asked, Job, invalid};
use super::run::End;
use super::{base, report, rows};
use crate::config::raw;
use crate::events::{Events, event};
use crate::registry::Versions;
use crate::wire::background::Background;
use crate::wire::sink::Ticket;

/// Starts of a job without getting any further, after which it is given up: it may be what kills
/// the process.
const STARTS_IN_VAIN_MAX: u32 = 5;

/// What jobs work with.
pub struct Means {
    /// Records and data sets.
    pub store: Arc<Store>,
    /// The registry.
    pub versions: Arc<Versions<Ticket>>,
    /// The thread that owns versions.
    pub models: Arc<Background>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where checkpoints are.
    pub data_dir: PathBuf,
    /// The limits.
    pub limits: raw::Training,
    /// Cores that train.
    pub cores: Vec<u32>,
    /// How files of rows are read.
    pub ring: RingMode,
}

/// The jobs.
pub struct Jobs {
    /// What they work with.
    pub means: Means,
    /// What happens to them.
    pub events: Events,
    board: Mutex<Board>,
    /// Told when a job is queued, and at the end.
    queued: Condvar,
    /// Held while a change is made and written.
    changing: Mutex<()>,
    closing: AtomicBool,
}

#[derive(Default)]
struct Board {
    jobs: BTreeMap<u64, Job>,
    queue: VecDeque<u64>,
    /// Of each that runs, whether it is to end.
    running: BTreeMap<u64, Arc<AtomicBool>>,
}

type Answer<T> = Result<T, ModelFailure>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(error: &StoreError) -> ModelFailure {
    ModelFailure { kind: error.kind(), detail: error.to_string() }
}

fn conflict(detail: String) -> ModelFailure {
    ModelFailure { kind: Kind::Conflict, detail }
}

fn unknown(id: u64) -> ModelFailure {
    let detail = format!("there is no job {id}; GET /api/v1/training/jobs lists them");
    ModelFailure { kind: Kind::NotFound, detail }
}

impl Jobs {
    /// The jobs of the store. Those that ran or were interrupted go first.
    pub fn open(means: Means) -> Result<Self, StoreError> {
        let mut board = Board::default();
        let mut queue = Vec::new();
        for (name, body) in means.store.training_records()? {
            let mut job: Job = match serde_json::from_slice(&body) {
                Ok(job) => job,
                Err(error) => {
                    tracing::error!(name, %error, "the record of a job cannot be read");
                    continue;
                }
            };
            if !job.is_over() {
                queue.push((job.state == TrainingState::Queued, job.id));
                job.state = TrainingState::Queued;
            }
            board.jobs.insert(job.id, job);
        }
        queue.sort_unstable();
        board.queue = queue.into_iter().map(|(_, id)| id).collect();
        let events = Events::new(means.limits.watchers_max);
        let jobs = Self {
            means,
            events,
            board: Mutex::new(board),
            queued: Condvar::new(),
            changing: Mutex::new(()),
            closing: AtomicBool::new(false),
        };
        jobs.sweep();
        Ok(jobs)
    }

    /// The folder of a job.
    pub fn folder(&self, id: u64) -> PathBuf {
        self.means.data_dir.join("training").join(id.to_string())
    }

    /// Removes the folders of jobs that are not kept.
    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(self.means.data_dir.join("training")) else { return };
        let board = lock(&self.board);
        for entry in entries.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            if !id.is_some_and(|id| board.jobs.contains_key(&id)) {
                // What stays takes room and nothing else.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Makes a job.
    pub fn create(&self, spec: &Value) -> Answer<Job> {
        let asked = Asked::read(spec, self.means.cores.len())?;
        let found = self.dataset(&asked)?;
        let asked = self.with_base(asked, spec)?;
        let _turn = lock(&self.changing);
        self.room()?;
        let newest = lock(&self.board).jobs.keys().next_back().copied();
        let job = Job {
            id: newest.unwrap_or(0) + 1,
            state: TrainingState::Queued,
            detail: None,
            spec: asked.text,
            rows: found.rows,
            created_us: self.means.clock.utc_us(),
            started_us: None,
            ended_us: None,
            starts: 0,
            starts_in_vain: 0,
            progress: TrainingProgress::default(),
            result: None,
        };
        self.write(&job)?;
        self.enqueue(job.clone());
        Ok(job)
    }

    /// The data set of a description, if that can be trained on it.
    fn dataset(&self, asked: &Asked) -> Answer<DatasetInfo> {
        let datasets = self.means.store.datasets().map_err(|error| failed(&error))?;
        let found = datasets.into_iter().find(|dataset| dataset.name == asked.dataset);
        let found = found.ok_or_else(|| ModelFailure {
            kind: Kind::NotFound,
            detail: format!("no data set `{}` exists", asked.dataset),
        })?;
        match found.rows > 0 && found.is_of_texts != asked.spec.is_of_texts() {
            true => Err(invalid(rows::mismatch(&found.name, found.is_of_texts))),
            false => Ok(found),
        }
    }

    /// A description that says which version it begins with, if it begins with one: whatever is
    /// active later, the job goes on with the same. It is read here as it will be.
    fn with_base(&self, asked: Asked, spec: &Value) -> Answer<Asked> {
        let Some(base) = &asked.spec.base else { return Ok(asked) };
        let entry = base::chosen(&self.means.store, base)?;
        base::training(&self.means.data_dir, &entry, &asked.spec)?;
        let mut spec = spec.clone();
        spec["base"]["version"] = json!(entry.version.0);
        Asked::read(&spec, self.means.cores.len())
    }

    /// Ends a job.
    pub fn cancel(&self, id: u64) -> Answer<Job> {
        let _turn = lock(&self.changing);
        let mut job = self.job(id)?;
        if let Some(stop) = lock(&self.board).running.get(&id) {
            stop.store(true, Ordering::Release);
            return Ok(job);
        }
        if job.is_over() {
            return Err(conflict(format!("job {id} is over")));
        }
        job.state = TrainingState::Cancelled;
        job.ended_us = Some(self.means.clock.utc_us());
        self.write(&job)?;
        self.events.end(id, "state", &json!(job.shown()));
        let mut board = lock(&self.board);
        board.queue.retain(|queued| *queued != id);
        board.jobs.insert(id, job.clone());
        Ok(job)
    }

    /// Has a job go on.
    pub fn resume(&self, id: u64) -> Answer<Job> {
        let _turn = lock(&self.changing);
        let mut job = self.job(id)?;
        match job.state {
            TrainingState::Cancelled | TrainingState::Failed => {}
            TrainingState::Done => return Err(conflict(format!("job {id} is done"))),
            _ => return Err(conflict(format!("job {id} goes on by itself"))),
        }
        self.room()?;
        (job.state, job.detail, job.ended_us) = (TrainingState::Queued, None, None);
        job.starts_in_vain = 0;
        self.write(&job)?;
        self.enqueue(job.clone());
        Ok(job)
    }

    /// Whether one more job may wait.
    fn room(&self) -> Answer<()> {
        if self.is_closing() {
            return Err(Failure::Draining.into());
        }
        match lock(&self.board).queue.len() < self.means.limits.queue_max {
            true => Ok(()),
            false => Err(Failure::QueueFull("training").into()),
        }
    }

    fn enqueue(&self, job: Job) {
        let mut board = lock(&self.board);
        board.queue.push_back(job.id);
        board.jobs.insert(job.id, job);
        self.queued.notify_one();
    }

    fn write(&self, job: &Job) -> Answer<()> {
        let body = serde_json::to_vec(job).map_err(|error| ModelFailure {
            kind: Kind::Internal,
            detail: format!("the record of job {}: {error}", job.id),
        })?;
        let changes = [(Job::name(job.id), Some(body))];
        self.means.store.change_trainings(&changes).map_err(|error| failed(&error))
    }

    /// All jobs, the newest first.
    pub fn all(&self) -> Vec<Job> {
        lock(&self.board).jobs.values().rev().cloned().collect()
    }

    /// How many jobs wait and run.
    pub fn depth(&self) -> (usize, usize) {
        let board = lock(&self.board);
        (board.queue.len(), board.running.len())
    }

    /// One job.
    pub fn job(&self, id: u64) -> Answer<Job> {
        lock(&self.board).jobs.get(&id).cloned().ok_or_else(|| unknown(id))
    }

    /// The report of a job that is done.
    pub fn report(&self, id: u64) -> Answer<String> {
        report::page(&self.folder(id), &self.job(id)?)
    }

    /// What happens to a job.
    pub fn watch(&self, id: u64) -> Answer<futures_util::stream::BoxStream<'static, String>> {
        self.job(id)?;
        let first = || match self.job(id) {
            Ok(job) => (event("job", &json!(job.shown())), !job.is_over()),
            Err(_) => (String::new(), false),
        };
        self.events.watch(id, first).ok_or_else(|| ModelFailure {
            kind: Kind::Overloaded,
            detail: "too many watch jobs already; try again shortly".to_owned(),
        })
    }

    /// Whether the process ends.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Has every job end soon, and nobody watch any longer.
    pub fn send_away(&self) {
        self.closing.store(true, Ordering::Release);
        let board = lock(&self.board);
        board.running.values().for_each(|stop| stop.store(true, Ordering::Release));
        drop(board);
        self.queued.notify_all();
        self.events.close();
    }

    /// Rests until something is queued, at most a second.
    pub(super) fn rest(&self) {
        let board = lock(&self.board);
        // Whoever rests looks again, whatever has woken it.
        let _ = self.queued.wait_timeout(board, Duration::from_secs(1));
    }

    /// The next job to train, and whether it is to end; none when the process ends.
    pub(super) fn take(&self) -> Option<(Job, Arc<AtomicBool>)> {
        loop {
            let mut board = lock(&self.board);
            let id = loop {
                if self.is_closing() {
                    return None;
                }
                match board.queue.pop_front() {
                    Some(id) => break id,
                    None => {
                        board = self.queued.wait(board).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(board);
            if let Some(begun) = self.begin(id) {
                return Some(begun);
            }
        }
    }

    fn begin(&self, id: u64) -> Option<(Job, Arc<AtomicBool>)> {
        let _turn = lock(&self.changing);
        let mut job = self.job(id).ok().filter(|job| job.state == TrainingState::Queued)?;
        if job.starts_in_vain >= STARTS_IN_VAIN_MAX {
            let starts = job.starts_in_vain;
            let why = format!("begun {starts} times without getting any further; see the log");
            self.settle(job, End::Failed(why));
            return None;
        }
        job.state = TrainingState::Running;
        job.started_us = Some(self.means.clock.utc_us());
        job.starts += 1;
        job.starts_in_vain += 1;
        job.detail = None;
        if let Err(failure) = self.write(&job) {
            tracing::error!(id, failure.detail, "the start of a job cannot be recorded");
        }
        self.events.tell(id, "state", &json!(job.shown()));
        let stop = Arc::new(AtomicBool::new(self.is_closing()));
        let mut board = lock(&self.board);
        board.running.insert(id, stop.clone());
        board.jobs.insert(id, job.clone());
        Some((job, stop))
    }

    /// Notes how far a job is.
    pub(super) fn note(&self, id: u64, progress: TrainingProgress) {
        if let Some(job) = lock(&self.board).jobs.get_mut(&id) {
            job.progress = progress;
        }
    }

    /// Notes that a job has got further than before its start.
    pub(super) fn got_further(&self, id: u64) {
        let _turn = lock(&self.changing);
        let Ok(mut job) = self.job(id) else { return };
        if job.starts_in_vain > 0 {
            job.starts_in_vain = 0;
            if let Err(failure) = self.write(&job) {
                tracing::error!(id, failure.detail, "the progress of a job cannot be recorded");
            }
            lock(&self.board).jobs.insert(id, job);
        }
    }

    /// Ends a job that ran.
    pub(super) fn finish(&self, id: u64, end: End) {
        let _turn = lock(&self.changing);
        let Ok(job) = self.job(id) else { return };
        self.settle(job, end);
    }

    fn settle(&self, mut job: Job, end: End) {
        let id = job.id;
        job.ended_us = Some(self.means.clock.utc_us());
        (job.progress.samples_per_second, job.progress.eta_s) = (None, None);
        match end {
            End::Done(result) => {
                job.state = TrainingState::Done;
                job.result = Some(result);
            }
            End::Cancelled => job.state = TrainingState::Cancelled,
            End::Interrupted => {
                (job.state, job.ended_us) = (TrainingState::Interrupted, None);
                job.starts_in_vain = 0;
            }
            End::Failed(why) => {
                tracing::warn!(id, why, "a training job has failed");
                (job.state, job.detail) = (TrainingState::Failed, Some(why));
            }
        }
        if let Err(failure) = self.write(&job) {
            // The next start finds it as it was before, and ends it again.
            tracing::error!(id, failure.detail, "the end of a job cannot be recorded");
        }
        let state = json!(job.shown());
        let mut board = lock(&self.board);
        board.running.remove(&id);
        board.jobs.insert(id, job);
        drop(board);
        self.events.end(id, "state", &state);
        self.prune();
    }

    /// Forgets the oldest jobs that are over.
    fn prune(&self) {
        let mut board = lock(&self.board);
        let over: Vec<u64> =
            board.jobs.values().filter(|job| job.is_over()).map(|job| job.id).collect();
        // The newest stays, so that no number is given twice.
        let newest = board.jobs.keys().next_back().copied();
        let count = over.len().saturating_sub(self.means.limits.kept_max);
        let gone: Vec<u64> =
            over.into_iter().take(count).filter(|id| Some(*id) != newest).collect();
        gone.iter().for_each(|id| drop(board.jobs.remove(id)));
        drop(board);
        if gone.is_empty() {
            return;
        }
        let changes: Vec<_> = gone.iter().map(|id| (Job::name(*id), None)).collect();
        if let Err(error) = self.means.store.change_trainings(&changes) {
            tracing::error!(%error, "jobs that are over cannot be forgotten");
        }
        for id in gone {
            // What stays goes at the next start.
            let _ = std::fs::remove_dir_all(self.folder(id));
        }
    }
}
