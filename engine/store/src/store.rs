//! Owns the store's face: open, submit, query, register, flush, close.
//!
//! Refuses to know how any of it works; see the module that each method calls. The directory is
//! not locked here: the caller holds `machine::DirLock`.
//! Bound: [`StoreOptions`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use truststram_base::{Clock, ModelEntry, ModelId, ModelVersion, PredictionRecord};
use truststram_machine::{Priority, Thread, ThreadSpec};

use crate::database_file::{OpenDatabase, open_database};
use crate::datasets::{DatasetInfo, DatasetName, DatasetScan, Datasets, TrainingRow};
use crate::decisions::Decisions;
use crate::disagreement::Disagreement;
use crate::error::{CommitFailure, Refused, StoreError};
use crate::month_files::MonthFiles;
use crate::options::StoreOptions;
use crate::query::{self, PredictionPage, PredictionQuery};
use crate::queue::{OnCommit, Queue};
use crate::registry::Registry;
use crate::registry::list::{ModelList, ModelQuery};
use crate::stats::{StoreCounters, StoreStats};
use crate::writer::Writer;

/// The store: registered models and kept predictions. Share it in an `Arc`.
pub struct Store {
    directory: PathBuf,
    queue: Arc<Queue>,
    files: Arc<MonthFiles>,
    registry: Registry,
    datasets: Datasets,
    decisions: Decisions,
    counters: Arc<StoreCounters>,
    writer: Mutex<Option<Thread<()>>>,
}

impl Store {
    /// Opens the store in `directory`, which is created if need be, and starts the writer. Every
    /// file is opened; one that was not closed is repaired by redb first, which reads all of it.
    pub fn open(
        directory: &Path,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Self::open_with(directory, &options, clock, Arc::new(open_database))
    }

    pub(crate) fn open_with(
        directory: &Path,
        options: &StoreOptions,
        clock: Arc<dyn Clock>,
        open: OpenDatabase,
    ) -> Result<Self, StoreError> {
        fs::create_dir_all(directory).map_err(|source| StoreError::Io {
            action: "create",
            path: directory.to_owned(),
            source,
        })?;
        let registry = Registry::open(directory.join("meta.redb"), Arc::clone(&open))?;
        let datasets = Datasets::open(directory.join("datasets.redb"), Arc::clone(&open))?;
        let decisions = Decisions::open(directory.join("decisions.redb"), Arc::clone(&open))?;
        let predictions = directory.join("predictions");
        let files = Arc::new(MonthFiles::open(predictions, options.cache_bytes, open)?);
        let queue = Arc::new(Queue::new(options));
        let counters = Arc::new(StoreCounters::new());
        let writer = Writer {
            queue: Arc::clone(&queue),
            files: Arc::clone(&files),
            counters: Arc::clone(&counters),
            clock,
            next_sequence: files.next_sequence()?.max(1),
            failed: Vec::new(),
        };
        let spec = ThreadSpec {
            name: "store-writer".to_owned(),
            cores: Vec::new(),
            memory_node: None,
            priority: Priority::Batch,
        };
        let thread = truststram_machine::spawn(spec, move |_placement| writer.run())
            .map_err(|source| StoreError::Writer { source })?;
        let directory = directory.to_owned();
        let writer = Mutex::new(Some(thread));
        Ok(Self { directory, queue, files, registry, datasets, decisions, counters, writer })
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
        query::run(&self.files, query)
    }

    /// Registers a version of a model and syncs it. An active one becomes the model's only active
    /// version.
    ///
    /// # Errors
    /// [`StoreError::ModelExists`] if this version is registered; [`StoreError::ModelRefused`] if
    /// a field of it is not acceptable.
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

    /// One registered version, if it is there.
    pub fn model_version(
        &self,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<Option<ModelEntry>, StoreError> {
        self.registry.version(id, version)
    }

    /// A page of the registered versions that match, newest first, and how they were found.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if anything that the page needs is damaged.
    pub fn list_models(&self, query: &ModelQuery) -> Result<ModelList, StoreError> {
        self.registry.list(query)
    }

    /// Makes a registered version its model's active one and syncs. Gives back the version that
    /// was active.
    ///
    /// # Errors
    /// [`StoreError::ModelUnknown`] if the version is not registered.
    pub fn activate_model(
        &self,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<Option<ModelVersion>, StoreError> {
        self.registry.activate(id, version)
    }

    /// Removes a version that is not active, syncs, and gives back its entry. Its file stays.
    ///
    /// # Errors
    /// [`StoreError::ModelUnknown`] or [`StoreError::ModelActive`].
    pub fn remove_model(
        &self,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<ModelEntry, StoreError> {
        self.registry.remove(id, version)
    }

    /// Compares the registered models with all their indexes, both ways.
    pub fn verify_models(&self) -> Result<Vec<Disagreement>, StoreError> {
        self.registry.verify()
    }

    /// Makes the indexes of the models again from the rows. Gives back how many entries they have.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a row cannot be read; nothing changes then.
    pub fn reindex_models(&self) -> Result<u64, StoreError> {
        self.registry.reindex()
    }

    /// Adds rows at the end of a data set, which is made if need be, and syncs. All of them or
    /// none. Gives back the id of the first; the others follow one by one.
    ///
    /// # Errors
    /// [`StoreError::DatasetRow`] with the number of the first row that is not acceptable.
    pub fn append_training(
        &self,
        name: &DatasetName,
        rows: &[TrainingRow],
    ) -> Result<u64, StoreError> {
        self.datasets.append(name, rows)
    }

    /// The rows of a data set from an id on, of those made at `created_since_us` or later if it is
    /// given, as they are now whatever is appended meanwhile.
    ///
    /// # Errors
    /// [`StoreError::DatasetUnknown`]. The scan itself ends with an error if a block is damaged.
    pub fn scan_training(
        &self,
        name: &DatasetName,
        from_id: u64,
        created_since_us: Option<i64>,
    ) -> Result<DatasetScan, StoreError> {
        self.datasets.scan(name, from_id, created_since_us)
    }

    /// All data sets and what they add up to, by name.
    pub fn datasets(&self) -> Result<Vec<DatasetInfo>, StoreError> {
        self.datasets.all()
    }

    /// Removes a data set, syncs, and gives back what it was.
    ///
    /// # Errors
    /// [`StoreError::DatasetUnknown`].
    pub fn remove_dataset(&self, name: &DatasetName) -> Result<DatasetInfo, StoreError> {
        self.datasets.remove(name)
    }

    /// Reads a whole data set and compares its blocks, extents and totals.
    ///
    /// # Errors
    /// [`StoreError::DatasetUnknown`].
    pub fn verify_dataset(&self, name: &DatasetName) -> Result<Vec<Disagreement>, StoreError> {
        self.datasets.verify(name)
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
        let counters = &self.counters;
        let files = self.files.all();
        StoreStats {
            rows_queued: u64::try_from(self.queue.rows_held()).unwrap_or(u64::MAX),
            rows_committed: counters.rows_committed.get(),
            rows_refused: counters.rows_refused.get(),
            rows_lost: counters.rows_lost.get(),
            commits: counters.commits.get(),
            commit_failures: counters.commit_failures.get(),
            commit_us: counters.commit_us.snapshot(),
            rows_per_commit: counters.rows_per_commit.snapshot(),
            file_bytes: files.iter().map(|file| file.file.bytes()).sum::<u64>()
                + self.registry.file.bytes()
                + self.datasets.file.bytes()
                + self.decisions.file.bytes(),
            path: self.directory.clone(),
        }
    }

    /// Returns when everything that was submitted before is committed.
    ///
    /// # Errors
    /// [`StoreError::NotCommitted`] if some of it is not; rows that nobody waits for are still
    /// tried again.
    pub fn flush(&self) -> Result<(), StoreError> {
        let (sender, receiver) = sync_channel(1);
        self.queue.push_flush(Box::new(move |result: Result<(), CommitFailure>| {
            // The receiver lives until the result is there.
            let _ = sender.send(result);
        }))?;
        match receiver.recv() {
            Ok(result) => result.map_err(StoreError::NotCommitted),
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// Refuses new records, commits the queued ones, ends the writer and closes the files. A
    /// second call does nothing. Dropping the store closes it too.
    ///
    /// # Errors
    /// [`StoreError::RowsLost`] if the disk refused rows until the end; the first error of closing
    /// a file.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = writer.take() else { return Ok(()) };
        self.queue.close();
        let joined = thread.join().map_err(|source| StoreError::Writer { source });
        let files = self.files.close();
        let registry = self.registry.file.close();
        let datasets = self.datasets.file.close();
        let decisions = self.decisions.file.close();
        joined.and(files).and(registry).and(datasets).and(decisions)?;
        match self.counters.rows_lost.get() {
            0 => Ok(()),
            rows => Err(StoreError::RowsLost { rows }),
        }
    }

    fn push(
        &self,
        record: PredictionRecord,
        on_commit: Option<OnCommit>,
    ) -> Result<(), Box<Refused>> {
        self.queue.push(record, on_commit).map_err(|(record, error)| {
            self.counters.rows_refused.add(1);
            Box::new(Refused { record, error })
        })
    }

    fn push_many(
        &self,
        records: &mut Vec<PredictionRecord>,
        on_commit: Option<OnCommit>,
    ) -> Result<(), StoreError> {
        self.queue.push_many(records, on_commit).inspect_err(|_| {
            self.counters.rows_refused.add(u64::try_from(records.len()).unwrap_or(u64::MAX));
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

#[cfg(test)]
mod tests;
