//! Owns one worker's loop: which requests, which batch, when to sleep.
//!
//! Refuses to know how requests got here and how they are computed. Bound: one thread; its buffers
//! grow to the largest batch and are reused.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use truststram_base::Clock;

use super::compute::Answered;
use super::crew::{Crew, Post};
use super::group::{Group, Held};
use super::inline::{Brief, Computes};
use super::port::{Batcher, NativeBatcher, Sink};
use super::queues::{Charge, Claim, Wanted};
use super::request::Queued;
use super::stats::WorkerStats;
use crate::error::ModelError;
use crate::program::Session;

/// The seat of a worker that takes from another group: no worker of that group has it.
const THIEF: usize = usize::MAX;

/// What a worker is made of; all of it moves to the worker's thread.
pub struct WorkerParts<T> {
    pub crew: Arc<Crew<T>>,
    pub post: Post,
    pub clock: Arc<dyn Clock>,
    pub batcher: Box<dyn Batcher>,
    pub sink: Box<dyn Sink<T>>,
    pub target_us: u32,
}

/// See the module.
pub struct Worker<T> {
    pub(super) parts: WorkerParts<T>,
    /// Other groups, near ones first.
    others: Vec<usize>,
    pub(super) batch: Vec<Queued<T>>,
    expired: Vec<(u64, Queued<T>)>,
    /// Of the model that computes; in its version's care between batches.
    pub(super) session: Option<Session>,
    /// Probabilities that the model gives in another type.
    pub(super) converted: Vec<f32>,
    /// Rows that the session holds answers of.
    pub(super) rows: usize,
    /// What the shadow is asked once the answers have left.
    pub(super) answered: Option<Answered>,
    /// What the last batch took, to be told at the next claim.
    settled: Option<(Charge, u64)>,
}

/// How a worker came to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It is its own group's, and may be held back.
    Own,
    /// The worker holds another lane back, so this one runs at once.
    Between,
    /// It is another group's; the worker does not wait for it.
    Thief,
    /// The worker has no thread and does not wait either; its batch is short.
    Inline(Brief),
}

/// What is to be done with a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decided {
    Run(usize),
    Refuse(usize),
    Leave,
}

impl<T: Send> Worker<T> {
    pub fn new(parts: WorkerParts<T>) -> Self {
        let others = parts.crew.others(parts.post);
        Self {
            parts,
            others,
            batch: Vec::new(),
            expired: Vec::new(),
            session: None,
            converted: Vec::new(),
            rows: 0,
            answered: None,
            settled: None,
        }
    }

    /// Works until its group is closed and everything in it is answered.
    pub fn run(mut self) {
        loop {
            let own = self.parts.post.group;
            let (now_us, settled) = (self.now_us(), self.settled.take());
            let crew = Arc::clone(&self.parts.crew);
            if let Some(claim) = crew.groups[own].claim(now_us, self.parts.post.seat, settled) {
                self.serve(own, claim, Role::Own);
            } else if !self.steal(&crew) && !self.rest(&crew) {
                return;
            }
        }
    }

    pub(super) fn now_us(&self) -> u64 {
        self.parts.clock.monotonic_us()
    }

    pub(super) fn stats(&self) -> &WorkerStats {
        &self.parts.crew.stats[self.parts.post.stats]
    }

    /// Takes a batch of brief requests of its group; returns whether there was one.
    pub(super) fn serve_brief(&mut self, brief: Brief) -> bool {
        let Post { group, seat, .. } = self.parts.post;
        let crew = Arc::clone(&self.parts.crew);
        let Some(claim) = crew.groups[group].claim_brief(self.now_us(), seat, brief) else {
            return false;
        };
        self.serve(group, claim, Role::Inline(brief))
    }

    /// Tells the workers of its group of what it leaves to them.
    pub(super) fn hand_over(&self) {
        self.parts.crew.groups[self.parts.post.group].hand_over();
    }

    /// Takes a batch of another group; returns whether there was one.
    fn steal(&mut self, crew: &Crew<T>) -> bool {
        for index in 0..self.others.len() {
            let other = self.others[index];
            let group = &crew.groups[other];
            if !group.has_waiting() {
                continue;
            }
            if let Some(claim) = group.claim(self.now_us(), THIEF, None)
                && self.serve(other, claim, Role::Thief)
            {
                self.stats().stolen.add(1);
                return true;
            }
        }
        false
    }

    /// Sleeps until there is something to do, and joins the work of others meanwhile; returns
    /// whether the worker goes on.
    fn rest(&self, crew: &Crew<T>) -> bool {
        let Post { group, seat, node, node_seat, .. } = self.parts.post;
        let (group, seats) = (&crew.groups[group], &crew.nodes[node].seats);
        loop {
            seats.offer(node_seat);
            let goes_on = group.rest(seat, || seats.is_asked(node_seat));
            if group.has_waiting() || !seats.is_asked(node_seat) {
                seats.leave(node_seat);
                return goes_on;
            }
            let helped = seats.help(node_seat, || group.has_waiting());
            self.stats().helped.add(helped as u64);
            if group.has_waiting() {
                return true;
            }
        }
    }

    /// Forms a batch of a claimed lane and answers it; returns whether there was one.
    fn serve(&mut self, group: usize, claim: Claim, role: Role) -> bool {
        let crew = Arc::clone(&self.parts.crew);
        let decided = self.decide(&crew.groups[group], claim, role);
        let (requests, refuses) = match decided {
            Decided::Run(requests) => (requests, false),
            Decided::Refuse(requests) => (requests, true),
            Decided::Leave => {
                crew.groups[group].release(claim);
                return false;
            }
        };
        let (by, time_us_max) = match role {
            Role::Inline(brief) => (Computes::Inline, Some(brief.batch_us())),
            Role::Own | Role::Between | Role::Thief => (Computes::Worker, None),
        };
        let wanted = Wanted { requests, time_us_max, now_us: self.now_us() };
        let (batch, expired) = (&mut self.batch, &mut self.expired);
        let charge = crew.groups[group].take(claim, by, wanted, batch, expired);
        let served = !self.batch.is_empty() || !self.expired.is_empty();
        self.deliver_expired(&crew.groups[group]);
        if !self.batch.is_empty() {
            let compute_us = match refuses {
                false => self.compute(&crew.groups[group]),
                true => self.deliver_undecided(&crew.groups[group]),
            };
            self.settle(&crew, group, charge, compute_us);
        }
        self.parts.sink.flush();
        self.ask_shadow(&crew.groups[group]);
        served
    }

    fn settle(&mut self, crew: &Crew<T>, group: usize, charge: Charge, compute_us: u32) {
        let post = self.parts.post;
        // A worker without a thread may be run again much later.
        let own = group == post.group && !post.is_inline() && self.settled.is_none();
        match own {
            true => self.settled = Some((charge, compute_us.into())),
            false => crew.groups[group].settle(charge, compute_us.into()),
        }
    }

    /// Asks the batcher until it takes some requests. Where a wait is not within its bounds the
    /// native default decides, so the last wait ends with the target.
    fn decide(&mut self, group: &Group<T>, claim: Claim, role: Role) -> Decided {
        let target_us = self.parts.target_us;
        loop {
            let Some(view) = group.view(claim, self.now_us(), target_us) else {
                return Decided::Leave;
            };
            let batcher = &mut self.parts.batcher;
            let decided = catch_unwind(AssertUnwindSafe(|| batcher.decide(&view)));
            let decided = decided.unwrap_or_else(|_| {
                self.stats().batcher_panics.add(1);
                Some(NativeBatcher::decision(&view))
            });
            let batch_max = view.batch_max as usize;
            let Some(decided) = decided else {
                return Decided::Refuse(batch_max.min(view.queued as usize));
            };
            if decided.take > 0 {
                return Decided::Run(batch_max.min(decided.take as usize));
            }
            let wait_us = decided.wait_us.min(target_us.saturating_sub(view.oldest_us));
            let waits = wait_us > 0 && view.queued < view.batch_max;
            match role {
                Role::Thief | Role::Inline(_) if waits => return Decided::Leave,
                Role::Own if waits => {
                    let until = Instant::now() + Duration::from_micros(wait_us.into());
                    let seat = self.parts.post.seat;
                    match group.hold(seat, claim, view.queued as usize, until) {
                        Held::More => continue,
                        Held::Over => {}
                        Held::Other => {
                            if let Some(other) = group.claim(self.now_us(), seat, None) {
                                self.serve(self.parts.post.group, other, Role::Between);
                            }
                            continue;
                        }
                    }
                }
                _ => {}
            }
            let queued = group.view(claim, self.now_us(), target_us);
            return Decided::Run(batch_max.min(queued.unwrap_or(view).queued as usize));
        }
    }

    fn deliver_expired(&mut self, group: &Group<T>) {
        self.stats().expired.add(self.expired.len() as u64);
        group.answered(self.expired.len());
        for (late_us, Queued { request, model, .. }) in self.expired.drain(..) {
            drop(model);
            let error = ModelError::Expired { late_us };
            self.parts.sink.deliver(request.reply, request.payload, Err(error));
        }
    }

    fn deliver_undecided(&mut self, group: &Group<T>) -> u32 {
        self.stats().failed.add(self.batch.len() as u64);
        group.answered(self.batch.len());
        for Queued { request, model, .. } in self.batch.drain(..) {
            drop(model);
            let error = ModelError::Undecided;
            self.parts.sink.deliver(request.reply, request.payload, Err(error));
        }
        0
    }
}

impl<T> Drop for Worker<T> {
    /// Whatever ends the thread, what it has claimed goes to the other workers of its group, and
    /// behind the last of them nobody goes on queueing.
    fn drop(&mut self) {
        let post = self.parts.post;
        let group = &self.parts.crew.groups[post.group];
        match post.is_inline() {
            true => group.leave_inline(post.seat),
            false => group.leave(post.seat),
        }
    }
}
