//! Owns the store's face: open, submit, query, register, flush, close.
//!
//! Refuses to know how any of it works; see the module that each method calls. The directory is
//! not locked here: the caller holds `machine::DirLock`.
//! Bound: [`StoreOptions`].

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use truststram_base::{Clock, ModelEntry, ModelId, PredictionRecord};
use truststram_machine::{Priority, Thread, ThreadSpec};

use crate::core::{Applying, Core};
use crate::decisions::Decisions;
use crate::disk::{Disk, HostDisk};
use crate::error::{CommitFailure, Damage, Refused, StoreError};
use crate::explain::Explanation;
use crate::log::{Encoder, EntryRows, Log};
use crate::memory::{Memory, MemoryTable};
use crate::month_files::MonthFiles;
use crate::options::{Applies, StoreOptions};
use crate::performance::{self, ModelPerformance, ModelStatistics};
use crate::query::{self, PredictionPage, PredictionQuery};
use crate::queue::{Covers, OnCommit, Queue};
use crate::registry::Registry;
use crate::row::Row;
use crate::segment_cache::SegmentCache;
use crate::stats::{StoreCounters, StoreStats};
use crate::verify::{
    Finding, OnVerifyProgress, Problem, Seal, VerifyReport, verify_months,
};
use crate::writer::Writer;

/// The store: registered models and kept predictions. Share it in an `Arc`.
pub struct Store {
    directory: PathBuf,
    pub(crate) core: Arc<Core>,
    queue: Arc<Queue>,
    registry: Registry,
    decisions: Decisions,
    threads: Mutex<Option<Threads>>,
    is_sealing: bool,
}

struct Threads {
    writer: Thread<()>,
    applier: Option<Thread<()>>,
}

impl Store {
    /// Opens the store in `directory`, which is created if need be, and starts its threads. Rows
    /// that were in the log are there again; a file that was not closed is repaired by redb.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if acknowledged rows are damaged.
    pub fn open(
        directory: &Path,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(HostDisk), directory, &options, clock)
    }

    /// As [`Store::open`], on a disk of the caller's.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: &StoreOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let log_directory = directory.join("log");
        disk.create_dir(&log_directory).map_err(|source| StoreError::Io {
            action: "create",
            path: log_directory.clone(),
            source,
        })?;
        Seal::remove(&*disk, directory)?;
        let registry = Registry::open(directory.join("meta.redb"), Arc::clone(&disk))?;
        let decisions = Decisions::open(directory.join("decisions.redb"), Arc::clone(&disk))?;
        let predictions = directory.join("predictions");
        let files = MonthFiles::open(predictions, options, Arc::clone(&disk))?;
        let salt = clock.utc_us().cast_unsigned() ^ clock.monotonic_us().rotate_left(32);
        let (log, recovered) = Log::open(&log_directory, &disk, options.log_bytes, salt)?;
        let in_files = files.peek_next_sequence()?;
        check_months(&files, &recovered.months)?;
        let (log, next_sequence) = start_log(log, recovered.sequences, in_files, &log_directory)?;
        let turn_rows = recovered.newer.iter().map(|(_, rows)| rows.len()).sum();
        let frozen = (!recovered.older.is_empty()).then(|| table_of(recovered.older));
        let core = Arc::new(Core {
            disk,
            files,
            segment_cache: Arc::new(SegmentCache::new(options.segment_cache_bytes)),
            counters: StoreCounters::new(),
            clock,
            applying: Applying::default(),
            memory: Memory::default(),
        });
        core.applying.lock().is_pending = frozen.is_some();
        core.memory.recover(table_of(recovered.newer), frozen);
        let queue = Arc::new(Queue::new(options));
        let writer = Writer {
            core: Arc::clone(&core),
            queue: Arc::clone(&queue),
            log,
            encoder: Encoder::default(),
            next_sequence,
            turn_rows,
            turn_rows_max: options.log_rows_max.max(1),
            applies: options.applies == Applies::OnRequest,
            failed: Vec::new(),
        };
        let writer = spawn("store-writer", Priority::Normal, move || writer.run())?;
        let applier = match options.applies {
            Applies::InBackground => {
                let core = Arc::clone(&core);
                Some(spawn("store-applier", Priority::Batch, move || crate::applier::run(&core))?)
            }
            Applies::OnRequest => None,
        };
        let threads = Mutex::new(Some(Threads { writer, applier }));
        let (directory, is_sealing) = (directory.to_owned(), options.is_sealing);
        Ok(Self { directory, core, queue, registry, decisions, threads, is_sealing })
    }

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

    /// A page of committed predictions, newest first. Reads files on the caller's thread.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if anything that the page needs is damaged; no part of it is
    /// served then.
    pub fn predictions(&self, query: &PredictionQuery) -> Result<PredictionPage, StoreError> {
        Ok(self.explain_predictions(query)?.0)
    }

    /// As [`Store::predictions`], and how it was done.
    pub fn explain_predictions(
        &self,
        query: &PredictionQuery,
    ) -> Result<(PredictionPage, Explanation), StoreError> {
        self.timed(|| query::run(&self.core, query))
    }

    /// The newest predictions of any of `models` since a time, at most `limit`, newest first.
    ///
    /// # Errors
    /// As [`Store::predictions`].
    pub fn predictions_of_models(
        &self,
        models: &[ModelId],
        since_us: i64,
        limit: usize,
    ) -> Result<(PredictionPage, Explanation), StoreError> {
        self.timed(|| query::run_for_models(&self.core, models, since_us, limit))
    }

    /// What a model has answered so far; exact, and read from sums that change with the rows.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a figure is damaged.
    pub fn performance(&self, model: &ModelId) -> Result<ModelPerformance, StoreError> {
        performance::of_model(&self.core, model)
    }

    /// The figures of each model that has rows in the minutes from that of `since_us` to the one
    /// before that of `until_us`, by model.
    ///
    /// # Errors
    /// As [`Store::performance`].
    pub fn statistics(
        &self,
        since_us: i64,
        until_us: i64,
    ) -> Result<(Vec<ModelStatistics>, Explanation), StoreError> {
        self.timed(|| performance::statistics(&self.core, since_us, until_us))
    }

    /// Registers a version of a model and syncs it. An active one becomes the model's only active
    /// version.
    ///
    /// # Errors
    /// [`StoreError::ModelExists`] if this version is registered.
    pub fn register_model(&self, entry: &ModelEntry) -> Result<(), StoreError> {
        self.registry.register(entry)
    }

    /// Every registered version of every model, by id and version.
    pub fn models(&self) -> Result<Vec<ModelEntry>, StoreError> {
        self.registry.all()
    }

    /// The registered versions of one model, ascending; empty if there are none.
    pub fn model_versions(&self, id: &ModelId) -> Result<Vec<ModelEntry>, StoreError> {
        self.registry.versions(id)
    }

    /// Keeps runs of decisions of plugins, each with the plugin's name, syncs them, and removes the
    /// oldest beyond `runs_max` of each plugin. Writes on the caller's thread.
    ///
    /// # Errors
    /// If the disk refused them; none is kept then.
    pub fn keep_decisions(
        &self,
        runs: &[(String, Vec<u8>)],
        runs_max: u64,
    ) -> Result<(), StoreError> {
        self.decisions.append(runs, runs_max)
    }

    /// The newest kept runs of a plugin, at most `limit`, the oldest of them first.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if one of them is damaged.
    pub fn decisions(&self, plugin: &str, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.decisions.newest(plugin, limit)
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
            months: core.files.all().len() as u64,
            file_bytes: core.files.bytes()
                + self.registry.file.bytes()
                + self.decisions.file.bytes()
                + ["even.log", "odd.log"]
                    .map(|name| core.disk.bytes(&self.directory.join("log").join(name)))
                    .iter()
                    .sum::<u64>(),
            path: self.directory.clone(),
        }
    }

    /// Checks all predictions and models: values against their checksums, indexes and figures
    /// against rows. Rows that are in the log only were checked when they were read.
    ///
    /// # Errors
    /// If something cannot be read for another reason than damage.
    pub fn verify(&self, on_progress: OnVerifyProgress<'_>) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        let mut months = Vec::new();
        for (month, file) in self.core.files.between(i64::MIN, i64::MAX) {
            match file.snapshot() {
                Ok(snapshot) => months.push((month, snapshot)),
                Err(error) => report.findings.push(Finding::of_error(error)?),
            }
        }
        let (findings, checked) = verify_months(months, on_progress)?;
        report.findings.extend(findings);
        report.checked = checked;
        if let Err(error) = self.registry.all() {
            report.findings.push(Finding::of_error(error)?);
        }
        Ok(report)
    }

    /// Has redb compare the checksums of all pages of all files; nothing else may use the store
    /// meanwhile.
    pub(crate) fn check_integrity(&self) -> Result<Vec<Finding>, StoreError> {
        let files = self.core.files.between(i64::MIN, i64::MAX);
        let months = files.iter().map(|(_, file)| &file.file);
        let mut findings = Vec::new();
        for file in months.chain([&self.registry.file, &self.decisions.file]) {
            match file.check_integrity() {
                Ok(true) => {}
                Ok(false) => findings.push(Finding {
                    path: file.path(),
                    table: "",
                    key: String::new(),
                    problem: Problem::Integrity,
                }),
                Err(error) => findings.push(Finding::of_error(error)?),
            }
        }
        Ok(findings)
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
        let decisions = self.decisions.file.close();
        written.and(applied).and(files).and(registry).and(decisions)?;
        if self.is_sealing {
            Seal::write(&*self.core.disk, &self.directory)?;
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

    fn timed<T>(
        &self,
        query: impl FnOnce() -> Result<(T, Explanation), StoreError>,
    ) -> Result<(T, Explanation), StoreError> {
        let clock = &self.core.clock;
        let start_us = clock.monotonic_us();
        // Rows are read from a month's pages as the answer is put together; on damaged ones redb
        // may panic.
        let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(query));
        let (found, mut explanation) = answered.unwrap_or_else(|_| {
            Err(StoreError::Corrupt {
                path: self.directory.join("predictions"),
                table: "any",
                key: "unknown".to_owned(),
                damage: Damage::Pages,
            })
        })?;
        explanation.duration_us = clock.monotonic_us().saturating_sub(start_us);
        Ok((found, explanation))
    }

    fn push(
        &self,
        record: PredictionRecord,
        on_commit: Option<OnCommit>,
    ) -> Result<(), Box<Refused>> {
        self.queue.push(record, on_commit).map_err(|(record, error)| {
            self.core.counters.rows_refused.add(1);
            Box::new(Refused { record, error })
        })
    }

    fn push_many(
        &self,
        records: &mut Vec<PredictionRecord>,
        on_commit: Option<OnCommit>,
    ) -> Result<(), StoreError> {
        self.queue.push_many(records, on_commit).inspect_err(|_| {
            self.core.counters.rows_refused.add(u64::try_from(records.len()).unwrap_or(u64::MAX));
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, path = %self.directory.display(), "cannot close the store");
        }
    }
}

/// Checks that log and files belong together, and begins the first turn of a new log.
fn start_log(
    mut log: Log,
    sequences: Option<(u64, u64)>,
    in_files: u64,
    directory: &Path,
) -> Result<(Log, u64), StoreError> {
    match sequences {
        // Every row goes through the log first.
        Some((_, next_sequence)) if next_sequence < in_files => Err(StoreError::Corrupt {
            path: directory.to_owned(),
            table: "log",
            key: format!("sequence {in_files}"),
            damage: Damage::Missing,
        }),
        Some((_, next_sequence)) => Ok((log, next_sequence)),
        None => {
            let next_sequence = in_files.max(1);
            log.switch(next_sequence, Vec::new())?;
            Ok((log, next_sequence))
        }
    }
}

/// Checks that every month's file has what the log says it had: those rows are no longer in the
/// log.
fn check_months(files: &MonthFiles, recorded: &[(u32, u64)]) -> Result<(), StoreError> {
    let found = files.next_sequences();
    for (month, file) in files.all() {
        let of = |months: &[(u32, u64)]| {
            months.iter().find(|(number, _)| *number == month.number()).map(|(_, next)| *next)
        };
        let (Some(recorded), Some(found)) = (of(recorded), of(&found)) else { continue };
        if found < recorded {
            let key = format!("{recorded} expected, {found} found");
            return Err(file.file.corrupt("next_sequence", key, Damage::Missing));
        }
    }
    Ok(())
}

fn table_of(entries: Vec<EntryRows>) -> MemoryTable {
    let mut table = MemoryTable::default();
    for (first_sequence, records) in entries {
        for (sequence, record) in (first_sequence..).zip(records) {
            table.push(Arc::new(Row { sequence, record }));
        }
    }
    table
}

fn spawn(
    name: &str,
    priority: Priority,
    work: impl FnOnce() + Send + 'static,
) -> Result<Thread<()>, StoreError> {
    let spec = ThreadSpec {
        name: name.to_owned(),
        cores: Vec::new(),
        memory_node: None,
        priority,
    };
    truststram_machine::spawn(spec, move |_placement| work())
        .map_err(|source| StoreError::Thread { source })
}

#[cfg(test)]
mod tests;
