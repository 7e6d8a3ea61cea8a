//! Owns the writer thread's work: take a group, encode it, commit it month by month, tell the
//! callers who wait, and try again what failed.
//!
//! A failed commit never ends the thread. Callers who wait for it get the failure, and their rows
//! are not tried again. Rows nobody waits for are kept and tried with every later group, or each
//! [`RETRY_WAIT`]; they count against the queue's bound, so that a dead disk ends in refusals.
//! Refuses to know redb. Bound: as the queue.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use truststram_base::Clock;

use crate::error::{CommitFailure, StoreError};
use crate::month::Month;
use crate::month_files::MonthFiles;
use crate::queue::{Covers, Group, OnCommit, Pending, Queue, row_bytes};
use crate::segment;
use crate::stats::StoreCounters;

/// How long an idle writer waits before it tries failed rows again.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// The state of the writer thread.
pub(crate) struct Writer {
    pub(crate) queue: Arc<Queue>,
    pub(crate) files: Arc<MonthFiles>,
    pub(crate) counters: Arc<StoreCounters>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The sequence of the next row.
    pub(crate) next_sequence: u64,
    pub(crate) failed: Vec<Failed>,
}

/// Rows of one month whose commit failed.
pub(crate) struct Failed {
    month: Month,
    /// What the file's `next_sequence` is if the commit reached the disk after all.
    next_sequence: u64,
    cause: CommitFailure,
    rows: Vec<Pending>,
}

/// A month whose commit failed, with what [`Failed`] needs besides the rows.
struct Failure {
    month: Month,
    next_sequence: u64,
    cause: CommitFailure,
}

impl Writer {
    /// Runs until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let mut spare = Group::default();
        loop {
            let idle_max = (!self.failed.is_empty()).then_some(RETRY_WAIT);
            let Some(mut group) = self.queue.next_group(spare, idle_max) else { break };
            self.retry();
            self.commit_group(&mut group);
            spare = group;
        }
        self.retry();
    }

    /// Commits `group`, tells who waits, and leaves it empty.
    fn commit_group(&mut self, group: &mut Group) {
        let failures = self.commit_rows(&group.rows);
        for ack in group.acks.drain(..) {
            let result = match self.failure(&ack.covers, &group.rows, &failures) {
                Some(cause) => Err(cause.clone()),
                None => Ok(()),
            };
            notify(ack.on_commit, result);
        }
        if failures.is_empty() {
            self.release(&group.rows);
            group.rows.clear();
        } else {
            self.keep_failed(group, failures);
        }
    }

    /// One transaction per month; returns the months that failed.
    fn commit_rows(&mut self, rows: &[Pending]) -> Vec<Failure> {
        let records = rows.iter().map(|row| &row.record);
        let by_month = segment::encode(records, &mut self.next_sequence);
        let next_sequence = self.next_sequence;
        let mut failures = Vec::new();
        for (month, segments) in by_month {
            let row_count = segments.iter().map(|segment| u64::from(segment.row_count)).sum();
            let start_us = self.clock.monotonic_us();
            match self.files.month(month).commit(&segments, next_sequence) {
                Ok(()) => {
                    let counters = &self.counters;
                    counters.commit_us.observe(self.clock.monotonic_us().saturating_sub(start_us));
                    counters.rows_per_commit.observe(row_count);
                    counters.rows_committed.add(row_count);
                    counters.commits.add(1);
                }
                Err(error) => {
                    self.counters.commit_failures.add(1);
                    if self.failed.is_empty() {
                        tracing::error!(%error, rows = row_count, "cannot commit predictions");
                    }
                    failures.push(Failure {
                        month,
                        next_sequence,
                        cause: CommitFailure::new(error),
                    });
                }
            }
        }
        failures
    }

    fn failure<'a>(
        &'a self,
        covers: &Covers,
        rows: &[Pending],
        failures: &'a [Failure],
    ) -> Option<&'a CommitFailure> {
        match covers {
            Covers::Rows(range) => {
                let touches = |failure: &&Failure| has_month(rows, range, failure.month);
                failures.iter().find(touches).map(|failure| &failure.cause)
            }
            Covers::Everything => {
                let kept = self.failed.iter().map(|failed| &failed.cause);
                failures.iter().map(|failure| &failure.cause).chain(kept).next()
            }
        }
    }

    fn keep_failed(&mut self, group: &mut Group, failures: Vec<Failure>) {
        let mut kept: Vec<Failed> = failures
            .into_iter()
            .map(|Failure { month, next_sequence, cause }| Failed {
                month,
                next_sequence,
                cause,
                rows: Vec::new(),
            })
            .collect();
        let mut settled = Vec::new();
        for row in group.rows.drain(..) {
            let month = Month::of(row.record.timestamp_us);
            match kept.iter_mut().find(|failed| failed.month == month) {
                Some(failed) if !row.durable => failed.rows.push(row),
                _ => settled.push(row),
            }
        }
        self.release(&settled);
        self.failed.extend(kept.into_iter().filter(|failed| !failed.rows.is_empty()));
    }

    /// Tries every failed commit again, in order, until its month fails again. A commit that
    /// failed at its last step may be on disk: the reopened file tells by its `next_sequence`.
    fn retry(&mut self) {
        let mut dead: Vec<Month> = Vec::new();
        for mut failed in std::mem::take(&mut self.failed) {
            if dead.contains(&failed.month) {
                self.failed.push(failed);
                continue;
            }
            match self.files.month(failed.month).next_sequence() {
                Ok(on_disk) if on_disk >= failed.next_sequence => {
                    let row_count = u64::try_from(failed.rows.len()).unwrap_or(u64::MAX);
                    self.counters.rows_committed.add(row_count);
                    self.release(&failed.rows);
                    continue;
                }
                Ok(_) => match self.commit_rows(&failed.rows).pop() {
                    None => {
                        self.release(&failed.rows);
                        continue;
                    }
                    Some(Failure { next_sequence, cause, .. }) => {
                        (failed.next_sequence, failed.cause) = (next_sequence, cause);
                    }
                },
                Err(error) => failed.cause = CommitFailure::new(error),
            }
            dead.push(failed.month);
            self.failed.push(failed);
        }
    }

    fn release(&self, rows: &[Pending]) {
        self.queue.release(rows.len(), rows.iter().map(|row| row_bytes(&row.record)).sum());
    }
}

impl Drop for Writer {
    /// Runs at the end of the thread, also when a panic below ends it: nobody waits for ever, and
    /// what is lost is counted.
    fn drop(&mut self) {
        let group = self.queue.abandon();
        let kept: usize = self.failed.iter().map(|failed| failed.rows.len()).sum();
        let lost = kept + group.rows.iter().filter(|row| !row.durable).count();
        self.counters.rows_lost.add(u64::try_from(lost).unwrap_or(u64::MAX));
        for ack in group.acks {
            notify(ack.on_commit, Err(CommitFailure::new(StoreError::Closed)));
        }
    }
}

fn has_month(rows: &[Pending], range: &Range<usize>, month: Month) -> bool {
    let rows = rows.get(range.clone()).unwrap_or_default();
    rows.iter().any(|row| Month::of(row.record.timestamp_us) == month)
}

/// A caller's code runs here; its panic must not end the writer.
fn notify(on_commit: OnCommit, result: Result<(), CommitFailure>) {
    if catch_unwind(AssertUnwindSafe(|| on_commit(result))).is_err() {
        tracing::error!("a commit callback panicked");
    }
}
