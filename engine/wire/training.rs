//! Owns the joint of the API's training jobs and those that this process runs.
//!
//! Refuses to decide: each change is one call on a thread of its own, for it waits for the disk.
//! Bound: the queue of that thread.

use std::sync::Arc;

use futures_util::future::{FutureExt, ready};
use futures_util::stream::BoxStream;
use serde_json::Value;
use truststram_api::ports::{ModelFailure, Training, TrainingAnswer, TrainingJob};
use truststram_base::Kind;
use truststram_store::StoreError;

use super::background::Background;
use super::operate::Parts;
use super::sink::Ticket;
use crate::app::AppError;
use crate::config::Plan;
use crate::registry::Versions;
use crate::threads::Threads;
use crate::training::{Jobs, Means, Trainers};

/// What jobs are served with.
pub struct Running {
    /// The trainers and their jobs.
    pub trainers: Trainers,
    /// The thread that changes jobs.
    pub desk: Arc<Background>,
}

/// The jobs as the API sees them; none where training is off.
#[derive(Clone)]
pub struct TrainingJobs(pub Option<Arc<Running>>);

fn off() -> ModelFailure {
    let detail = "training is off; set `training.enabled` and restart".to_owned();
    ModelFailure { kind: Kind::Unavailable, detail }
}

impl TrainingJobs {
    /// Starts the trainers, where the configuration has any.
    ///
    /// # Errors
    /// If the records of jobs cannot be read, or no thread can be started.
    pub fn start(
        plan: &Plan,
        versions: &Arc<Versions<Ticket>>,
        parts: &Parts,
        threads: &Threads,
    ) -> Result<Self, AppError> {
        if !plan.training.enabled {
            return Ok(Self(None));
        }
        let means = Means {
            store: parts.store.clone(),
            versions: versions.clone(),
            models: threads.models.clone(),
            clock: parts.clock.clone(),
            data_dir: plan.data_dir.clone(),
            limits: plan.training.clone(),
            cores: plan.training_cores.clone(),
            ring: plan.ring,
        };
        let jobs = Jobs::open(means).map_err(|error: StoreError| AppError::Store(error))?;
        let trainers = Trainers::start(jobs)?;
        // Set once, here.
        let _ = parts.training.set(trainers.jobs.clone());
        Ok(Self(Some(Arc::new(Running { trainers, desk: threads.training.clone() }))))
    }

    /// Has the jobs end soon, and nobody watch them any longer.
    pub fn send_away(&self) {
        if let Some(running) = &self.0 {
            running.trainers.jobs.send_away();
        }
    }

    fn jobs(&self) -> Result<&Jobs, ModelFailure> {
        self.0.as_ref().map(|running| &*running.trainers.jobs).ok_or_else(off)
    }

    fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Jobs) -> Result<T, ModelFailure> + Send + 'static,
    ) -> TrainingAnswer<T> {
        let Some(running) = self.0.clone() else { return ready(Err(off())).boxed() };
        let jobs = running.trainers.jobs.clone();
        let changed = running.desk.run(move || change(&jobs));
        changed.map(|changed| changed?).boxed()
    }
}

impl Training for TrainingJobs {
    fn create(&self, spec: Value) -> TrainingAnswer<TrainingJob> {
        self.change(move |jobs| jobs.create(&spec).map(|job| job.shown()))
    }

    fn list(&self) -> Vec<TrainingJob> {
        let jobs = self.jobs().map(Jobs::all).unwrap_or_default();
        jobs.iter().map(|job| job.shown()).collect()
    }

    fn job(&self, id: u64) -> Result<TrainingJob, ModelFailure> {
        self.jobs()?.job(id).map(|job| job.shown())
    }

    fn cancel(&self, id: u64) -> TrainingAnswer<TrainingJob> {
        self.change(move |jobs| jobs.cancel(id).map(|job| job.shown()))
    }

    fn resume(&self, id: u64) -> TrainingAnswer<TrainingJob> {
        self.change(move |jobs| jobs.resume(id).map(|job| job.shown()))
    }

    fn events(&self, id: u64) -> Result<BoxStream<'static, String>, ModelFailure> {
        self.jobs()?.watch(id)
    }

    fn report(&self, id: u64) -> TrainingAnswer<String> {
        self.change(move |jobs| jobs.report(id))
    }
}
