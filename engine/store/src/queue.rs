//! Owns the bounded queue between the callers and the writer, and the forming of groups.
//!
//! A submission is one short critical section and, in the steady state, no system call: the
//! writer's own timer ends the gathering. The writer is woken only when it idles, when somebody
//! waits for the commit, or when the group is full.
//! Refuses to know encoding and files. Bound: rows and bytes that are not committed, counted from
//! the submission until [`Queue::release`]; beyond them a submission is refused.

use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use truststram_base::PredictionRecord;

use crate::error::{CommitFailure, StoreError};
use crate::options::StoreOptions;

/// Called once on the writer thread: with `Ok` after `fsync`, or with the failure. It delays every
/// commit while it runs, so it should only pass the result on.
pub type OnCommit = Box<dyn FnOnce(Result<(), CommitFailure>) + Send>;

/// A queued record.
pub(crate) struct Pending {
    pub(crate) record: PredictionRecord,
    /// Whether somebody is told about a failure; a record that nobody waits for is tried again.
    pub(crate) durable: bool,
}

/// What a waiting caller waits for.
pub(crate) enum Covers {
    /// These rows of the group.
    Rows(Range<usize>),
    /// Everything that was submitted before.
    Everything,
    /// The same, and that it is on its way from the log into the month files.
    Checkpoint,
    /// The same, and that the log holds none of it any more.
    ClearLog,
}

/// A waiting caller.
pub(crate) struct Ack {
    pub(crate) covers: Covers,
    pub(crate) on_commit: OnCommit,
}

/// What is committed together.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) rows: Vec<Pending>,
    pub(crate) acks: Vec<Ack>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WriterState {
    /// It looks at the queue again without being woken.
    Busy,
    /// It sleeps until the first row comes.
    Idle,
    /// It sleeps until the group's time is over.
    Gathering,
}

struct State {
    group: Group,
    rows_held: usize,
    bytes_held: usize,
    writer: WriterState,
    is_closing: bool,
}

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    group_rows_max: usize,
    group_wait: Duration,
    rows_max: usize,
    bytes_max: usize,
}

impl Queue {
    pub(crate) fn new(options: &StoreOptions) -> Self {
        let group =
            Group { rows: Vec::with_capacity(options.group_rows_max.min(1 << 16)), acks: vec![] };
        Self {
            state: Mutex::new(State {
                group,
                rows_held: 0,
                bytes_held: 0,
                writer: WriterState::Busy,
                is_closing: false,
            }),
            wake: Condvar::new(),
            group_rows_max: options.group_rows_max.max(1),
            group_wait: Duration::from_micros(options.group_wait_us),
            // Sequences within a segment are 32-bit differences.
            rows_max: options.queue_rows_max.clamp(1, 1 << 30),
            bytes_max: options.queue_bytes_max,
        }
    }

    /// Queues one record, or gives it back. The large error is the record itself, moved once.
    #[allow(clippy::result_large_err)]
    pub(crate) fn push(
        &self,
        record: PredictionRecord,
        on_commit: Option<OnCommit>,
    ) -> Result<(), (PredictionRecord, StoreError)> {
        let mut state = self.lock();
        if let Err(error) = self.reserve(&mut state, 1, row_bytes(&record)) {
            return Err((record, error));
        }
        state.group.rows.push(Pending { record, durable: on_commit.is_some() });
        self.submitted(state, 1, on_commit);
        Ok(())
    }

    /// Queues all records or none; taken records leave `records` empty.
    pub(crate) fn push_many(
        &self,
        records: &mut Vec<PredictionRecord>,
        on_commit: Option<OnCommit>,
    ) -> Result<(), StoreError> {
        let bytes = records.iter().map(row_bytes).sum();
        let (count, durable) = (records.len(), on_commit.is_some());
        let mut state = self.lock();
        self.reserve(&mut state, count, bytes)?;
        state.group.rows.extend(records.drain(..).map(|record| Pending { record, durable }));
        self.submitted(state, count, on_commit);
        Ok(())
    }

    /// Asks to be told when everything submitted before is committed, or on its way to the month
    /// files.
    pub(crate) fn push_flush(&self, covers: Covers, on_commit: OnCommit) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.is_closing {
            return Err(StoreError::Closed);
        }
        state.group.acks.push(Ack { covers, on_commit });
        self.wake_writer(state);
        Ok(())
    }

    /// The next group: waits for a first row, then gathers. `spare` is a used group whose memory
    /// is used again. With `idle_max` an empty group is returned after that time without rows.
    /// `None` once the queue is closed and empty.
    pub(crate) fn next_group(&self, spare: Group, idle_max: Option<Duration>) -> Option<Group> {
        let mut state = self.lock();
        let idle_until = idle_max.map(|idle_max| Instant::now() + idle_max);
        while state.group.is_empty() {
            if state.is_closing {
                return None;
            }
            let Some(next) = self.sleep(state, WriterState::Idle, idle_until) else {
                return Some(spare);
            };
            state = next;
        }
        let gather_until = Some(Instant::now() + self.group_wait);
        while state.group.acks.is_empty()
            && state.group.rows.len() < self.group_rows_max
            && !state.is_closing
        {
            state = match self.sleep(state, WriterState::Gathering, gather_until) {
                Some(state) => state,
                None => {
                    state = self.lock();
                    break;
                }
            };
        }
        Some(std::mem::replace(&mut state.group, spare))
    }

    /// Makes room: these rows are committed, reported as failed, or lost.
    pub(crate) fn release(&self, rows: usize, bytes: usize) {
        let mut state = self.lock();
        state.rows_held = state.rows_held.saturating_sub(rows);
        state.bytes_held = state.bytes_held.saturating_sub(bytes);
    }

    /// Refuses submissions from now on; the writer takes what is left and ends.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closing = true;
        self.wake_writer(state);
    }

    /// Closes the queue and returns what nobody will commit any more.
    pub(crate) fn abandon(&self) -> Group {
        let mut state = self.lock();
        state.is_closing = true;
        std::mem::take(&mut state.group)
    }

    /// Whether a quarter of the room or more is taken: the writer does not keep up.
    pub(crate) fn is_behind(&self) -> bool {
        let state = self.lock();
        state.rows_held >= self.rows_max.div_ceil(4) || state.bytes_held >= self.bytes_max / 4
    }

    /// Rows that are not committed yet.
    pub(crate) fn rows_held(&self) -> usize {
        self.lock().rows_held
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self, state: &mut State, rows: usize, bytes: usize) -> Result<(), StoreError> {
        if state.is_closing {
            return Err(StoreError::Closed);
        }
        let rows_held = state.rows_held.saturating_add(rows);
        let bytes_held = state.bytes_held.saturating_add(bytes);
        if rows_held > self.rows_max || bytes_held > self.bytes_max {
            let (rows_max, bytes_max) = (self.rows_max, self.bytes_max);
            return Err(StoreError::QueueFull { rows_max, bytes_max });
        }
        (state.rows_held, state.bytes_held) = (rows_held, bytes_held);
        Ok(())
    }

    fn submitted(
        &self,
        mut state: MutexGuard<'_, State>,
        count: usize,
        on_commit: Option<OnCommit>,
    ) {
        let is_waited_for = on_commit.is_some();
        if let Some(on_commit) = on_commit {
            let end = state.group.rows.len();
            state.group.acks.push(Ack { covers: Covers::Rows(end - count..end), on_commit });
        }
        let is_full = state.group.rows.len() >= self.group_rows_max;
        match state.writer {
            WriterState::Idle => self.wake_writer(state),
            WriterState::Gathering if is_waited_for || is_full => self.wake_writer(state),
            WriterState::Gathering | WriterState::Busy => {}
        }
    }

    /// Wakes the writer after the lock is released, and only if it sleeps.
    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let writer = std::mem::replace(&mut state.writer, WriterState::Busy);
        drop(state);
        if writer != WriterState::Busy {
            self.wake.notify_one();
        }
    }

    /// Sleeps until woken; `None` when `until` is over.
    fn sleep<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        writer: WriterState,
        until: Option<Instant>,
    ) -> Option<MutexGuard<'a, State>> {
        state.writer = writer;
        let mut state = match until {
            None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                let woken = self.wake.wait_timeout(state, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.writer = WriterState::Busy;
        let is_over = until.is_some_and(|until| until <= Instant::now());
        if is_over { None } else { Some(state) }
    }
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.acks.is_empty()
    }
}

/// The memory that a queued record occupies, in bytes.
pub(crate) fn row_bytes(record: &PredictionRecord) -> usize {
    size_of::<Pending>() + record.features.len() * size_of::<f32>()
}
