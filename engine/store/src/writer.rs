//! Owns the writer thread's work: take a group, put it into the log, tell the callers who wait,
//! and go on in the other log file when one is full.
//!
//! A failed write never ends the thread. Callers who wait for it get the failure, and their rows
//! are not tried again. Rows nobody waits for are kept and tried with the next group, or each
//! [`RETRY_WAIT`]; they count against the queue's bound, so that a dead disk ends in refusals.
//! Refuses to know redb. Bound: as the queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;
use crate::error::{CommitFailure, StoreError};
use crate::log::{Encoder, Log};
use crate::queue::{Covers, Group, OnCommit, Pending, Queue, row_bytes};
use crate::row::Row;

/// How long an idle writer waits before it tries failed rows again.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// The state of the writer thread.
pub(crate) struct Writer {
    pub(crate) core: Arc<Core>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) log: Log,
    pub(crate) encoder: Encoder,
    /// The sequence of the next row.
    pub(crate) next_sequence: u64,
    /// Rows in this turn of the log, and how many it may have.
    pub(crate) turn_rows: usize,
    pub(crate) turn_rows_max: usize,
    /// Whether this thread moves frozen rows itself when it needs the other log file.
    pub(crate) applies: bool,
    /// Rows that nobody waits for and that could not be written.
    pub(crate) failed: Vec<Pending>,
}

/// What somebody wants of the turns of the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turns {
    Go,
    End,
    EndBoth,
}

impl Writer {
    /// Runs until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let mut spare = Group::default();
        loop {
            let idle_max = (!self.failed.is_empty()).then_some(RETRY_WAIT);
            let Some(mut group) = self.queue.next_group(spare, idle_max) else { break };
            self.commit_group(&mut group);
            spare = group;
        }
        if !self.failed.is_empty() {
            self.commit_group(&mut Group::default());
        }
        self.log.close();
    }

    /// Commits `group` after the rows that failed before, tells who waits, and leaves it empty.
    fn commit_group(&mut self, group: &mut Group) {
        let failed_before = self.failed.len();
        if failed_before > 0 {
            let mut rows = std::mem::take(&mut self.failed);
            rows.append(&mut group.rows);
            group.rows = rows;
        }
        let total = group.rows.len();
        let (written, failure) = self.write(&mut group.rows);
        let mut checkpoints = Vec::new();
        for ack in group.acks.drain(..) {
            let (needed, turns) = match ack.covers {
                Covers::Rows(range) => (failed_before + range.end, Turns::Go),
                Covers::Everything => (total, Turns::Go),
                Covers::Checkpoint => (total, Turns::End),
                Covers::ClearLog => (total, Turns::EndBoth),
            };
            match &failure {
                Some(failure) if needed > written => notify(ack.on_commit, Err(failure.clone())),
                _ if turns != Turns::Go => checkpoints.push((ack.on_commit, turns)),
                _ => notify(ack.on_commit, Ok(())),
            }
        }
        self.keep_failed(&mut group.rows);
        for (on_commit, turns) in checkpoints {
            let result = self.end_turns(turns);
            notify(on_commit, result.map_err(CommitFailure::new));
        }
    }

    /// Writes rows entry by entry until one fails. Written rows are taken off the front; returns
    /// how many those are.
    fn write(&mut self, rows: &mut Vec<Pending>) -> (usize, Option<CommitFailure>) {
        let mut written = 0;
        let mut failure = None;
        while !rows.is_empty() {
            self.encoder.start();
            let fits = |row: &&Pending| self.encoder.push(&row.record);
            let count = rows.iter().take_while(fits).count();
            let start_us = self.core.clock.monotonic_us();
            if let Err(error) = self.write_entry() {
                self.core.counters.commit_failures.add(1);
                if self.failed.is_empty() {
                    tracing::error!(%error, rows = rows.len(), "cannot commit rows");
                }
                failure = Some(CommitFailure::new(error));
                break;
            }
            // At once: the next entry may begin another turn, and a turn's rows are moved together.
            self.show(rows, count);
            let counters = &self.core.counters;
            counters.commit_us.observe(self.core.clock.monotonic_us().saturating_sub(start_us));
            counters.rows_per_commit.observe(count as u64);
            counters.rows_committed.add(count as u64);
            counters.commits.add(1);
            written += count;
        }
        self.core.note_commit(failure.as_ref());
        (written, failure)
    }

    /// Makes the first rows visible and takes them out.
    fn show(&mut self, rows: &mut Vec<Pending>, count: usize) {
        let bytes = rows[..count].iter().map(|row| row_bytes(&row.record)).sum();
        let mut sequence = self.next_sequence - count as u64;
        let shown = rows.drain(..count).map(|row| {
            let row = Arc::new(Row { sequence, record: row.record });
            sequence += 1;
            row
        });
        self.core.memory.push(shown);
        self.queue.release(count, bytes);
    }

    /// Writes the encoder's entry, in the other file if this one is full.
    fn write_entry(&mut self) -> Result<(), StoreError> {
        let count = self.encoder.row_count() as usize;
        let is_full = self.turn_rows > 0 && self.turn_rows + count > self.turn_rows_max;
        if is_full || !self.log.has_room_for(&self.encoder) {
            self.switch()?;
        }
        self.log.append(&mut self.encoder, self.next_sequence)?;
        self.next_sequence += count as u64;
        self.turn_rows += count;
        Ok(())
    }

    /// Ends this turn of the log if it has rows. To have no rows in the other file either, one more
    /// turn begins there, once they are in the month files: until then the next opening would read
    /// them again.
    fn end_turns(&mut self, turns: Turns) -> Result<(), StoreError> {
        if self.turn_rows > 0 {
            self.switch()?;
        }
        if turns == Turns::EndBoth { self.switch() } else { Ok(()) }
    }

    /// Goes on in the other log file once its rows are in month files, and freezes the rows of
    /// this one.
    fn switch(&mut self) -> Result<(), StoreError> {
        self.await_frozen()?;
        self.log.switch(self.next_sequence, self.core.files.next_sequences())?;
        self.turn_rows = 0;
        self.core.memory.freeze();
        self.core.applying.lock().is_pending = true;
        self.core.applying.notify();
        Ok(())
    }

    /// Returns when no rows are frozen, or with the reason why they cannot be moved.
    fn await_frozen(&self) -> Result<(), StoreError> {
        if self.applies && self.core.applying.lock().is_pending {
            return self.core.apply_frozen();
        }
        let mut state = self.core.applying.lock();
        while state.is_pending {
            if let Some(failure) = &state.failure {
                return Err(StoreError::NotCommitted(failure.clone()));
            }
            if state.is_closing {
                return Err(StoreError::Closed);
            }
            state = self.core.applying.wait(state, None);
        }
        Ok(())
    }

    /// Keeps the rows that nobody waits for.
    fn keep_failed(&mut self, rows: &mut Vec<Pending>) {
        let (mut count, mut bytes) = (0, 0);
        for row in rows.drain(..) {
            if row.durable {
                count += 1;
                bytes += row_bytes(&row.record);
            } else {
                self.failed.push(row);
            }
        }
        if count > 0 {
            self.queue.release(count, bytes);
        }
    }
}

impl Drop for Writer {
    /// Runs at the end of the thread, also when a panic below ends it: nobody waits for ever, and
    /// rows that are still here are counted as lost.
    fn drop(&mut self) {
        let group = self.queue.abandon();
        let lost = self.failed.len() + group.rows.iter().filter(|row| !row.durable).count();
        self.core.counters.rows_lost.add(u64::try_from(lost).unwrap_or(u64::MAX));
        for ack in group.acks {
            notify(ack.on_commit, Err(CommitFailure::new(StoreError::Closed)));
        }
    }
}

/// A caller's code runs here; its panic must not end the writer.
fn notify(on_commit: OnCommit, result: Result<(), CommitFailure>) {
    if catch_unwind(AssertUnwindSafe(|| on_commit(result))).is_err() {
        tracing::error!("a commit callback panicked");
    }
}
