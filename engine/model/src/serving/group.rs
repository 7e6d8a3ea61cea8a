//! Owns the meeting point of the submitting threads and a few workers of one NUMA node: their
//! queues under one lock, and the workers' sleep.
//!
//! A request waits for the group, not for one worker, so that none waits behind a busy worker
//! while another one sleeps.
//! Refuses to know models and batches. Bound: `requests_max` requests accepted and not answered;
//! the lock is held for one push, one claim or one batch. A submit makes a system call only when a
//! worker sleeps and this request is for it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::inline::{Brief, Computes};
use super::port::QueueView;
use super::queues::{Charge, Claim, Queues, Wanted};
use super::request::Queued;

/// Why a push was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Full,
    Closed,
}

/// Why a worker that holds a lane back was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// More requests came into the lane.
    More,
    /// Requests came that nobody else is free for.
    Other,
    /// The time is over, or no more requests will come.
    Over,
}

#[derive(Debug)]
struct State<T> {
    queues: Queues<T>,
    open: bool,
    /// Seats whose workers sleep for want of requests.
    resting: Vec<usize>,
    /// Seats whose workers hold a lane back.
    holding: Vec<usize>,
    workers: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Group<T> {
    state: Mutex<State<T>>,
    woken: Box<[Condvar]>,
    unanswered: AtomicUsize,
    unclaimed: AtomicUsize,
    resting: AtomicUsize,
    open: AtomicBool,
    requests_max: usize,
    /// Which of the engine's nodes it is on.
    node: usize,
}

impl<T> Group<T> {
    pub fn new(workers: usize, requests_max: usize, node: usize) -> Self {
        let state = State {
            queues: Queues::default(),
            open: true,
            resting: Vec::with_capacity(workers),
            holding: Vec::with_capacity(workers),
            workers,
        };
        Self {
            state: Mutex::new(state),
            woken: (0..workers).map(|_| Condvar::new()).collect(),
            unanswered: AtomicUsize::new(0),
            unclaimed: AtomicUsize::new(0),
            resting: AtomicUsize::new(0),
            open: AtomicBool::new(true),
            requests_max,
            node,
        }
    }

    pub fn node(&self) -> usize {
        self.node
    }

    pub fn requests_max(&self) -> usize {
        self.requests_max
    }

    /// Requests accepted and not answered yet.
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// How full it is, for the choice of a group: first whether everybody is busy, then how many
    /// requests there are per worker, in 1/256. A closed one has no room at all.
    pub fn load(&self) -> (bool, usize) {
        if !self.open.load(Ordering::Relaxed) {
            return (true, usize::MAX);
        }
        let busy = self.resting.load(Ordering::Relaxed) == 0;
        (busy, (self.unanswered() << 8) / self.woken.len().max(1))
    }

    /// Whether requests wait that nobody has claimed; may be out of date at once.
    pub fn has_waiting(&self) -> bool {
        self.unclaimed.load(Ordering::Relaxed) > 0
    }

    /// Makes room: `count` requests are about to be answered.
    pub fn answered(&self, count: usize) {
        self.unanswered.fetch_sub(count, Ordering::Relaxed);
    }

    /// Accepts a request or gives it back. Of one that is computed inline no sleeping worker is
    /// told. The large error is the request itself, moved once.
    #[allow(clippy::result_large_err)]
    pub fn push(&self, queued: Queued<T>, by: Computes) -> Result<(), (Refusal, Queued<T>)> {
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
        let wakes = match state.queues.push(queued) {
            Some(claimer) if state.holding.contains(&claimer) => Some(claimer),
            // Who decides on the lane just now looks at it again afterwards.
            Some(_) => None,
            None if by == Computes::Inline => None,
            None => self.next_to_wake(&mut state),
        };
        self.end(state, wakes);
        Ok(())
    }

    /// A worker for requests that nobody has claimed: one that sleeps, or else one that holds a
    /// lane back.
    fn next_to_wake(&self, state: &mut State<T>) -> Option<usize> {
        state.resting.pop().or_else(|| state.holding.last().copied())
    }

    /// The same, if there are such requests.
    fn next_if_waiting(&self, state: &mut State<T>) -> Option<usize> {
        if state.queues.unclaimed() > 0 { self.next_to_wake(state) } else { None }
    }

    /// Refuses everything from now on; what is in stays for the workers.
    pub fn close(&self) {
        let mut state = self.lock();
        state.open = false;
        state.resting.clear();
        self.publish(&state);
        drop(state);
        self.woken.iter().for_each(Condvar::notify_one);
    }

    /// Claims the next lane for a seat.
    pub fn claim(&self, now_us: u64, seat: usize, settled: Option<(Charge, u64)>) -> Option<Claim> {
        let mut state = self.lock();
        if let Some((charge, compute_us)) = settled {
            state.queues.settle(charge, compute_us);
        }
        let claim = state.queues.claim(now_us, seat);
        self.publish(&state);
        claim
    }

    /// Claims the next lane of brief requests for a worker without a thread.
    pub fn claim_brief(&self, now_us: u64, seat: usize, brief: Brief) -> Option<Claim> {
        let mut state = self.lock();
        let claim = state.queues.claim_where(now_us, seat, |queued| brief.allows(queued));
        self.publish(&state);
        claim
    }

    /// Tells a worker of what waits, if something does.
    pub fn hand_over(&self) {
        if !self.has_waiting() {
            return;
        }
        let mut state = self.lock();
        let wakes = self.next_if_waiting(&mut state);
        self.end(state, wakes);
    }

    /// Gives up whatever a worker without a thread has claimed.
    pub fn leave_inline(&self, seat: usize) {
        let mut state = self.lock();
        state.queues.release_all(seat);
        let wakes = self.next_if_waiting(&mut state);
        self.end(state, wakes);
    }

    /// The moment as a batcher is told.
    pub fn view(&self, claim: Claim, now_us: u64, target_us: u32) -> Option<QueueView> {
        self.lock().queues.view(claim, now_us, target_us)
    }

    /// Gives up a claim, and tells a worker of the group of what waits then.
    pub fn release(&self, claim: Claim) {
        let mut state = self.lock();
        state.queues.release(claim);
        let wakes = self.next_if_waiting(&mut state);
        self.end(state, wakes);
    }

    /// Takes a batch of a claimed lane; wakes another worker for what is left, unless the taker
    /// has no thread and looks itself.
    pub fn take(
        &self,
        claim: Claim,
        by: Computes,
        wanted: Wanted,
        batch: &mut Vec<Queued<T>>,
        expired: &mut Vec<(u64, Queued<T>)>,
    ) -> Charge {
        let mut state = self.lock();
        let charge = state.queues.take(claim, wanted, batch, expired);
        let left = state.queues.unclaimed() > 0 && by == Computes::Worker;
        let wakes = if left { state.resting.pop() } else { None };
        self.end(state, wakes);
        charge
    }

    /// A batch of another group's worker has computed.
    pub fn settle(&self, charge: Charge, compute_us: u64) {
        self.lock().queues.settle(charge, compute_us);
    }

    /// Sleeps until requests wait, `stops`, or the group is closed; returns whether there is
    /// something to look for.
    pub fn rest(&self, seat: usize, stops: impl Fn() -> bool) -> bool {
        let mut state = self.lock();
        let goes_on = loop {
            if state.queues.unclaimed() > 0 || stops() {
                break true;
            }
            if !state.open {
                break false;
            }
            if !state.resting.contains(&seat) {
                state.resting.push(seat);
                self.publish(&state);
            }
            state = self.woken[seat].wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.resting.retain(|resting| *resting != seat);
        self.publish(&state);
        goes_on
    }

    /// Holds a claimed lane back until it has more than `seen` requests, or something else is to
    /// be done, or it is `until`.
    pub fn hold(&self, seat: usize, claim: Claim, seen: usize, until: Instant) -> Held {
        let mut state = self.lock();
        state.holding.push(seat);
        let held = loop {
            if state.queues.queued(claim) > seen {
                break Held::More;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !state.open {
                break Held::Over;
            }
            if state.queues.unclaimed() > 0 && state.resting.is_empty() {
                break Held::Other;
            }
            let waited = self.woken[seat].wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        state.holding.retain(|holding| *holding != seat);
        held
    }

    /// Wakes the worker of a seat, which will ask its `stops`.
    pub fn nudge(&self, seat: usize) {
        // Who is about to sleep has the lock from looking until it sleeps.
        drop(self.lock());
        if let Some(woken) = self.woken.get(seat) {
            woken.notify_one();
        }
    }

    /// A worker ends. What it has claimed is for the others; without others nobody goes on
    /// queueing, and the requests that are left are dropped, which tells their owners.
    pub fn leave(&self, seat: usize) {
        let mut state = self.lock();
        state.queues.release_all(seat);
        state.workers -= 1;
        let mut dropped = None;
        if state.workers == 0 {
            state.open = false;
            dropped = Some(state.queues.drain());
        }
        let wakes = if state.queues.unclaimed() > 0 { state.resting.pop() } else { None };
        self.end(state, wakes);
        // Not under the lock: their owners are told.
        drop(dropped);
    }

    /// Ends a change of the state, and wakes the worker of a seat for it.
    fn end(&self, state: MutexGuard<'_, State<T>>, wakes: Option<usize>) {
        self.publish(&state);
        drop(state);
        if let Some(seat) = wakes {
            self.woken[seat].notify_one();
        }
    }

    fn publish(&self, state: &State<T>) {
        self.unclaimed.store(state.queues.unclaimed(), Ordering::Relaxed);
        self.resting.store(state.resting.len(), Ordering::Relaxed);
        self.open.store(state.open, Ordering::Relaxed);
    }

    /// No code under the lock can panic half way through a change, so a poisoned lock is sound.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
