//! Owns what the store's threads and its callers share: the rows in memory, the files, and the
//! state of the move from one to the other.
//!
//! Refuses to know queues and threads. Bound: as its parts.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use truststram_base::{Clock, ModelId};

use crate::disk::Disk;
use crate::error::{CommitFailure, StoreError};
use crate::memory::{Memory, MemoryTable};
use crate::month::Month;
use crate::month_file::Run;
use crate::month_files::MonthFiles;
use crate::row::Row;
use crate::segment::Packer;
use crate::segment_cache::SegmentCache;
use crate::stats::StoreCounters;

/// Everything that is shared.
pub(crate) struct Core {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) files: MonthFiles,
    pub(crate) memory: Memory,
    pub(crate) segment_cache: Arc<SegmentCache>,
    pub(crate) counters: StoreCounters,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) applying: Applying,
    /// Why the last commit failed; `None` after one that did not.
    pub(crate) commit_failure: Mutex<Option<CommitFailure>>,
}

/// How far the move of frozen rows into month files is.
#[derive(Default)]
pub(crate) struct Applying {
    state: Mutex<ApplyState>,
    changed: Condvar,
    /// Held while rows are moved, so that two threads never do it at once.
    running: Mutex<()>,
}

#[derive(Default)]
pub(crate) struct ApplyState {
    /// Whether there are frozen rows.
    pub(crate) is_pending: bool,
    /// Why they could not be moved at the last try.
    pub(crate) failure: Option<CommitFailure>,
    /// Whether the thread that moves them is to end.
    pub(crate) is_closing: bool,
}

impl Applying {
    pub(crate) fn lock(&self) -> MutexGuard<'_, ApplyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until something changed, or for `time` at most.
    pub(crate) fn wait<'a>(
        &self,
        state: MutexGuard<'a, ApplyState>,
        time: Option<std::time::Duration>,
    ) -> MutexGuard<'a, ApplyState> {
        match time {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let woken = self.changed.wait_timeout(state, time);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }
}

impl Core {
    /// Notes what became of a commit.
    pub(crate) fn note_commit(&self, failure: Option<&CommitFailure>) {
        let mut noted = self.commit_failure.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.is_some() || failure.is_some() {
            *noted = failure.cloned();
        }
    }

    /// Moves the frozen rows into the files of their months. Afterwards they are no longer in
    /// memory, and their turn of the log may be overwritten.
    pub(crate) fn apply_frozen(&self) -> Result<(), StoreError> {
        let _running = self.applying.running.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match self.memory.frozen() {
            Some(table) => self.apply(&table),
            None => Ok(()),
        };
        let mut state = self.applying.lock();
        match &result {
            Ok(()) => {
                self.memory.drop_frozen();
                state.is_pending = false;
                state.failure = None;
            }
            Err(error) => {
                self.counters.apply_failures.add(1);
                if state.failure.is_none() {
                    tracing::error!(%error, "cannot move rows from the log into a month's file");
                }
            }
        }
        let result = result.map_err(|error| {
            let failure = CommitFailure::new(error);
            state.failure = Some(failure.clone());
            StoreError::NotCommitted(failure)
        });
        drop(state);
        self.applying.notify();
        result
    }

    fn apply(&self, table: &MemoryTable) -> Result<(), StoreError> {
        let Some(next_sequence) = table.end() else { return Ok(()) };
        let start_us = self.clock.monotonic_us();
        let mut packer = Packer::new().map_err(|source| StoreError::Compressor { source })?;
        let mut by_month: BTreeMap<Month, BTreeMap<ModelId, Vec<Arc<Row>>>> = BTreeMap::new();
        for row in &table.rows {
            let rows = by_month.entry(Month::of(row.record.timestamp_us)).or_default();
            match rows.get_mut(&row.record.model) {
                Some(rows) => rows.push(Arc::clone(row)),
                None => drop(rows.insert(row.record.model.clone(), vec![Arc::clone(row)])),
            }
        }
        for (month, rows) in by_month {
            let of_month = table.rollups.iter().filter(|((of, _), _)| *of == month);
            let rollups: HashMap<_, _> =
                of_month.map(|((_, model), rollups)| (model, rollups)).collect();
            let run = Run { rows, rollups, next_sequence };
            self.files.month(month).apply(&run, &mut packer)?;
            self.files.note(month, next_sequence);
        }
        let counters = &self.counters;
        counters.apply_us.observe(self.clock.monotonic_us().saturating_sub(start_us));
        counters.rows_applied.add(table.rows.len() as u64);
        Ok(())
    }
}
