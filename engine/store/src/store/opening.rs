//! Owns the part of the store's face that opens it.
//!
//! Refuses to know how it is done; see the module that each method calls. Bound: [`StoreOptions`].

use std::path::Path;
use std::sync::{Arc, Mutex};

use truststram_base::Clock;
use truststram_machine::{Priority, Thread, ThreadSpec};

use super::{Store, Threads};
use crate::core::{Applying, Core};
use crate::datasets::Datasets;
use crate::decisions::Decisions;
use crate::disk::{Disk, HostDisk};
use crate::error::{Damage, StoreError};
use crate::log::{Encoder, EntryRows, Log};
use crate::memory::{Memory, MemoryTable};
use crate::month_files::MonthFiles;
use crate::options::{Applies, IoMode, StoreOptions};
use crate::performance_cache::PerformanceCache;
use crate::queue::Queue;
use crate::registry::Registry;
use crate::ring_storage::{BackendChoice, RingDisk, StoreIo, choose_backend, probe_ring_storage};
use crate::row::Row;
use crate::segment_cache::SegmentCache;
use crate::stats::StoreCounters;
use crate::verify::Seal;
use crate::writer::Writer;

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
        let io = choose_io(options.io, directory, &*clock)?;
        let disk: Arc<dyn Disk> = match io.chosen {
            StoreIo::File => Arc::new(HostDisk),
            StoreIo::Ring => Arc::new(RingDisk),
        };
        let mut store = Self::open_on(disk, directory, &options, clock)?;
        store.io = io;
        Ok(store)
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
        let broken_seal = Seal::remove(&*disk, directory)?;
        let registry = Registry::open(directory.join("meta.redb"), Arc::clone(&disk))?;
        let datasets = Datasets::open(directory.join("datasets.redb"), Arc::clone(&disk))?;
        let decisions = Decisions::open(directory.join("decisions.redb"), Arc::clone(&disk))?;
        let predictions = directory.join("predictions");
        let files = MonthFiles::open(predictions, options, Arc::clone(&disk))?;
        let salt = clock.utc_us().cast_unsigned() ^ clock.monotonic_us().rotate_left(32);
        let (log, recovered) = Log::open(&log_directory, &disk, options.log_bytes, salt)?;
        let in_files = files.peek_next_sequence(recovered.sequences.is_some())?;
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
            commit_failure: Mutex::default(),
            memory: Memory::default(),
        });
        core.applying.lock().is_pending = frozen.is_some();
        core.memory.recover(table_of(recovered.newer), frozen);
        let queue = Arc::new(Queue::new(options));
        let writer = Writer {
            core: Arc::clone(&core),
            queue: Arc::clone(&queue),
            log,
            encoder: Encoder::new(options.entry_bytes_max),
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
                let apply = move || crate::applier::run(&core);
                Some(spawn("store-applier", Priority::Background, apply)?)
            }
            Applies::OnRequest => None,
        };
        let threads = Mutex::new(Some(Threads { writer, applier }));
        let mut tiers = options.tiers.clone();
        tiers.sort_by_key(|tier| tier.after_days);
        let io = unmeasured(StoreIo::File, "the caller's disk");
        Ok(Self {
            directory: directory.to_owned(),
            core,
            queue,
            registry,
            datasets,
            decisions,
            threads,
            is_sealing: options.is_sealing,
            tiers,
            io,
            performance_cache: PerformanceCache::new(),
            broken_seal,
        })
    }
}

/// How month files below `directory` are reached, and why.
fn choose_io(
    mode: IoMode,
    directory: &Path,
    clock: &dyn Clock,
) -> Result<BackendChoice, StoreError> {
    let fail = |source| StoreError::Io { action: "create", path: directory.to_owned(), source };
    HostDisk.create_dir(directory).map_err(fail)?;
    Ok(match mode {
        IoMode::File => unmeasured(StoreIo::File, "configured"),
        IoMode::Auto => choose_backend(directory, clock),
        IoMode::Uring => match probe_ring_storage(directory) {
            Ok(_) => unmeasured(StoreIo::Ring, "configured"),
            Err(error) => {
                tracing::warn!(%error, "store.io is uring, and io_uring is not to be had");
                unmeasured(StoreIo::File, &error.to_string())
            }
        },
    })
}

fn unmeasured(chosen: StoreIo, reason: &str) -> BackendChoice {
    let (file_us_per_commit, ring_us_per_commit) = (None, None);
    BackendChoice { chosen, reason: reason.to_owned(), file_us_per_commit, ring_us_per_commit }
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
    let spec = ThreadSpec { name: name.to_owned(), cores: Vec::new(), memory_node: None, priority };
    truststram_machine::spawn(spec, move |_placement| work())
        .map_err(|source| StoreError::Thread { source })
}
