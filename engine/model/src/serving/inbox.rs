//! Owns the meeting point of the submitting threads and one worker: a bounded queue and the
//! worker's sleep.
//!
//! Refuses to know models and batches. Bound: `requests_max` requests accepted and not answered;
//! the lock is held for one push or one swap. A submit makes a system call only when the worker
//! sleeps and this request is the one it waits for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::port::InferRequest;
use super::registry::LoadedModel;
use super::replica::Load;

/// A request on its way. The handle keeps the model's replicas alive until the answer is given.
#[derive(Debug)]
pub struct Queued<T> {
    pub model: Arc<LoadedModel>,
    pub request: InferRequest<T>,
}

impl<T> AsRef<[f32]> for Queued<T> {
    fn as_ref(&self) -> &[f32] {
        &self.request.features
    }
}

/// What the engine asks of a worker besides requests.
#[derive(Debug)]
pub enum Command {
    /// Build a replica.
    Load(Load),
    /// Drop the replicas that no handle names any more.
    Sweep,
}

/// What came in since the worker last looked.
#[derive(Debug)]
pub struct Incoming<T> {
    pub requests: VecDeque<Queued<T>>,
    pub commands: VecDeque<Command>,
}

impl<T> Default for Incoming<T> {
    fn default() -> Self {
        Self { requests: VecDeque::new(), commands: VecDeque::new() }
    }
}

impl<T> Incoming<T> {
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.commands.is_empty()
    }
}

/// Why a push was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Full,
    Closed,
}

#[derive(Debug)]
struct State<T> {
    incoming: Incoming<T>,
    open: bool,
    /// The worker sleeps until this many requests are in; `None` while it is awake.
    wake_at: Option<usize>,
}

/// See the module.
#[derive(Debug)]
pub struct Inbox<T> {
    state: Mutex<State<T>>,
    woken: Condvar,
    unanswered: AtomicUsize,
    requests_max: usize,
}

impl<T> Inbox<T> {
    pub fn new(requests_max: usize) -> Self {
        let state = State { incoming: Incoming::default(), open: true, wake_at: None };
        let (state, woken) = (Mutex::new(state), Condvar::new());
        Self { state, woken, unanswered: AtomicUsize::new(0), requests_max }
    }

    /// Requests accepted and not answered yet.
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Makes room: `count` requests are about to be answered.
    pub fn answered(&self, count: usize) {
        self.unanswered.fetch_sub(count, Ordering::Relaxed);
    }

    /// Accepts a request or gives it back. The large error is the request itself, moved once.
    #[allow(clippy::result_large_err)]
    pub fn push(&self, queued: Queued<T>) -> Result<(), (Refusal, Queued<T>)> {
        if self.unanswered.fetch_add(1, Ordering::Relaxed) >= self.requests_max {
            self.answered(1);
            return Err((Refusal::Full, queued));
        }
        let mut state = self.lock();
        if !state.open {
            drop(state);
            self.answered(1);
            return Err((Refusal::Closed, queued));
        }
        state.incoming.requests.push_back(queued);
        let wake = state.wake_at.is_some_and(|at| state.incoming.requests.len() >= at);
        if wake {
            state.wake_at = None;
        }
        drop(state);
        if wake {
            self.woken.notify_one();
        }
        Ok(())
    }

    /// Gives the worker a command; `false` if the inbox is closed.
    pub fn command(&self, command: Command) -> bool {
        let mut state = self.lock();
        if !state.open {
            return false;
        }
        state.incoming.commands.push_back(command);
        self.wake(state);
        true
    }

    /// Refuses everything from now on; what is in stays for the worker.
    pub fn close(&self) {
        let mut state = self.lock();
        state.open = false;
        self.wake(state);
    }

    /// Closes the inbox and drops what is in it, for a worker that cannot go on.
    pub fn abandon(&self) {
        self.close();
        let dropped = std::mem::take(&mut self.lock().incoming);
        drop(dropped);
    }

    /// Swaps what came in for the empty `incoming`; returns whether more can come.
    pub fn swap(&self, incoming: &mut Incoming<T>) -> bool {
        let mut state = self.lock();
        std::mem::swap(&mut state.incoming, incoming);
        state.open
    }

    /// Sleeps until something is in or the inbox is closed.
    pub fn sleep(&self) {
        let mut state = self.lock();
        while state.incoming.is_empty() && state.open {
            state.wake_at = Some(1);
            state = self.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.wake_at = None;
    }

    /// Sleeps until `count` requests or a command are in, the inbox is closed or it is `until`;
    /// returns whether there is still time to wait for more.
    pub fn sleep_until(&self, count: usize, until: Instant) -> bool {
        let mut state = self.lock();
        let in_time = loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !state.open {
                break false;
            }
            if state.incoming.requests.len() >= count || !state.incoming.commands.is_empty() {
                break true;
            }
            state.wake_at = Some(count);
            let waited = self.woken.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        state.wake_at = None;
        in_time
    }

    fn wake(&self, mut state: MutexGuard<'_, State<T>>) {
        let asleep = state.wake_at.take().is_some();
        drop(state);
        if asleep {
            self.woken.notify_one();
        }
    }

    /// No code under the lock can panic half way through a change, so a poisoned lock is sound.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
