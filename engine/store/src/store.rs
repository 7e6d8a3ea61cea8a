//! Owns the store's face: open, submit, query, register, flush, close.
//!
//! Refuses to know how any of it works; see the module that each method calls. The directory is
//! not locked here: the caller holds `machine::DirLock`.
//! Bound: [`crate::StoreOptions`].

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use truststram_base::{Kind, PredictionRecord};
use truststram_machine::Thread;

use crate::core::Core;
use crate::datasets::Datasets;
use crate::decisions::Decisions;
use crate::error::{CommitFailure, Refused, StoreError};
use crate::options::Tier;
use crate::performance_cache::PerformanceCache;
use crate::queue::{Covers, OnCommit, Queue};
use crate::registry::Registry;
use crate::ring_storage::BackendChoice;
use crate::stats::StoreStats;
use crate::verify::{BrokenSeal, Seal};

mod checks;
mod models;
mod months;
mod opening;
mod questions;

pub use months::StoredMonth;

/// The store: registered models and kept predictions. Share it in an `Arc`.
pub struct Store {
    pub(crate) directory: PathBuf,
    pub(crate) core: Arc<Core>,
    queue: Arc<Queue>,
    pub(crate) registry: Registry,
    pub(crate) datasets: Datasets,
    pub(crate) decisions: Decisions,
    threads: Mutex<Option<Threads>>,
    is_sealing: bool,
    pub(crate) tiers: Vec<Tier>,
    io: BackendChoice,
    performance_cache: PerformanceCache,
    broken_seal: BrokenSeal,
}

struct Threads {
    writer: Thread<()>,
    applier: Option<Thread<()>>,
}

impl Store {
    /// Queues a record; never blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`] or [`StoreError::Closed`], with the record.
    pub fn submit(&self, record: PredictionRecord) -> Result<(), Box<Refused>> {
        self.push(record, None)
    }

    /// Queues a record and has `on_commit` called on the writer thread once it is synced to disk,
    /// or with the failure, after which it is not tried again.
    ///
    /// # Errors
    /// As [`Store::submit`]; `on_commit` is then not called.
    pub fn submit_durable(
        &self,
        record: PredictionRecord,
        on_commit: OnCommit,
    ) -> Result<(), Box<Refused>> {
        self.push(record, Some(on_commit))
    }

    /// Queues all of `records` or none. They are left in `records` when they are refused, which is
    /// empty otherwise.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`] or [`StoreError::Closed`].
    pub fn submit_many(&self, records: &mut Vec<PredictionRecord>) -> Result<(), StoreError> {
        self.push_many(records, None)
    }

    /// As [`Store::submit_many`], with one `on_commit` for all of them.
    ///
    /// # Errors
    /// As [`Store::submit_many`]; `on_commit` is then not called.
    pub fn submit_many_durable(
        &self,
        records: &mut Vec<PredictionRecord>,
        on_commit: OnCommit,
    ) -> Result<(), StoreError> {
        self.push_many(records, Some(on_commit))
    }

    /// How month files are reached, and why.
    pub fn io(&self) -> &BackendChoice {
        &self.io
    }

    /// Whether rows come faster than they are committed: a quarter of the queue is taken.
    pub fn is_behind(&self) -> bool {
        self.queue.is_behind()
    }

    /// Counts, latencies and sizes now.
    pub fn stats(&self) -> StoreStats {
        let (core, counters) = (&self.core, &self.core.counters);
        StoreStats {
            rows_queued: u64::try_from(self.queue.rows_held()).unwrap_or(u64::MAX),
            rows_committed: counters.rows_committed.get(),
            rows_refused: counters.rows_refused.get(),
            rows_lost: counters.rows_lost.get(),
            commits: counters.commits.get(),
            commit_failures: counters.commit_failures.get(),
            commit_us: counters.commit_us.snapshot(),
            rows_per_commit: counters.rows_per_commit.snapshot(),
            rows_in_log: u64::try_from(core.memory.row_count()).unwrap_or(u64::MAX),
            rows_applied: counters.rows_applied.get(),
            apply_failures: counters.apply_failures.get(),
            apply_us: counters.apply_us.snapshot(),
            cache_hits: counters.cache_hits.get(),
            cache_misses: counters.cache_misses.get(),
            scrubs: counters.scrubs.get(),
            scrub_findings: counters.scrub_findings.get(),
            months: core.files.all().len() as u64,
            file_bytes: core.files.bytes()
                + self.registry.file.bytes()
                + self.datasets.file.bytes()
                + self.decisions.file.bytes()
                + ["even.log", "odd.log"]
                    .map(|name| core.disk.bytes(&self.directory.join("log").join(name)))
                    .iter()
                    .sum::<u64>(),
            path: self.directory.clone(),
        }
    }

    /// Returns when everything that was submitted before is committed.
    ///
    /// # Errors
    /// [`StoreError::NotCommitted`] if some of it is not; rows that nobody waits for are still
    /// tried again.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.wait_for(Covers::Everything)
    }

    /// Returns when everything that was submitted before is in the month files: what a checkpoint
    /// is to PostgreSQL.
    ///
    /// # Errors
    /// As [`Store::flush`]; the rows are then in the log still, and moved later.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.wait_for(Covers::Checkpoint)?;
        self.apply_now()
    }

    /// As [`Store::checkpoint`], and the log holds none of it afterwards, so that opening the store
    /// anew does not find it there.
    pub(crate) fn clear_log(&self) -> Result<(), StoreError> {
        self.wait_for(Covers::ClearLog)?;
        self.apply_now()
    }

    /// Moves rows that wait for it from the log into the month files, on the caller's thread.
    ///
    /// # Errors
    /// [`StoreError::NotCommitted`]; the rows are then in the log still.
    pub fn apply_now(&self) -> Result<(), StoreError> {
        self.core.apply_frozen()
    }

    /// Refuses new records, commits the queued ones, ends the threads and closes the files. A
    /// second call does nothing. Dropping the store closes it too.
    ///
    /// # Errors
    /// [`StoreError::RowsLost`] if the disk refused rows until the end; the first error of closing
    /// a file.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Threads { writer, applier }) = threads.take() else { return Ok(()) };
        self.queue.close();
        let written = writer.join().map_err(|source| StoreError::Thread { source });
        self.core.applying.lock().is_closing = true;
        self.core.applying.notify();
        let applied = match applier.map(Thread::join) {
            Some(joined) => joined.map_err(|source| StoreError::Thread { source }),
            None => Ok(()),
        };
        let files = self.core.files.close();
        let registry = self.registry.file.close();
        let datasets = self.datasets.file.close();
        let decisions = self.decisions.file.close();
        written.and(applied).and(files).and(registry).and(datasets).and(decisions)?;
        let months = self.core.files.all();
        let is_open = months.iter().any(|(_, file)| file.file.is_left_open());
        if self.is_sealing && !is_open {
            Seal::write(&*self.core.disk, &self.directory, &self.tiers, &self.broken_seal)?;
        }
        match self.core.counters.rows_lost.get() {
            0 => Ok(()),
            rows => Err(StoreError::RowsLost { rows }),
        }
    }

    fn wait_for(&self, covers: Covers) -> Result<(), StoreError> {
        let (sender, receiver) = sync_channel(1);
        let on_commit = Box::new(move |result: Result<(), CommitFailure>| {
            // The receiver lives until the result is there.
            let _ = sender.send(result);
        });
        self.queue.push_flush(covers, on_commit)?;
        match receiver.recv() {
            Ok(result) => result.map_err(StoreError::NotCommitted),
            Err(_) => Err(StoreError::Closed),
        }
    }

    fn push(
        &self,
        record: PredictionRecord,
        on_commit: Option<OnCommit>,
    ) -> Result<(), Box<Refused>> {
        self.queue.push(record, on_commit).map_err(|(record, error)| {
            self.core.counters.rows_refused.add(1);
            Box::new(Refused { record, error: self.reason(error) })
        })
    }

    fn push_many(
        &self,
        records: &mut Vec<PredictionRecord>,
        on_commit: Option<OnCommit>,
    ) -> Result<(), StoreError> {
        self.queue.push_many(records, on_commit).map_err(|error| {
            let refused = u64::try_from(records.len()).unwrap_or(u64::MAX);
            self.core.counters.rows_refused.add(refused);
            self.reason(error)
        })
    }

    /// Why the queue is full: the disk may be.
    fn reason(&self, error: StoreError) -> StoreError {
        if !matches!(error, StoreError::QueueFull { .. }) {
            return error;
        }
        let noted = self.core.commit_failure.lock();
        let failure = noted.unwrap_or_else(PoisonError::into_inner).clone();
        match failure {
            Some(failure) if failure.kind() == Kind::NoSpace => StoreError::NotCommitted(failure),
            _ => error,
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, path = %self.directory.display(), "cannot close the store");
        }
    }
}

#[cfg(test)]
mod tests;
