//! Owns the order in which waiting requests are served: by priority, by fairness among models, by
//! age; and which of them are computed together.
//!
//! Requests wait in lanes, one per version and bucket of sizes, with one queue per priority. A
//! worker claims a lane, decides, and takes from it; nobody else touches a claimed lane meanwhile.
//!
//! Fairness is by virtual time, as in start-time fair queuing: each version's clock goes forward by
//! what its batches compute, the version whose clock is behind is next, and one that was idle
//! starts where the others are, so that nobody saves up.
//! Refuses to know threads and locks. Bound: as many requests as are pushed; a lane keeps its
//! buffers, so that a steady stream allocates nothing.

use std::collections::VecDeque;

use super::port::QueueView;
use super::request::{PRIORITY_COUNT, Queued};

/// A request that has waited this long counts as one priority higher.
const PROMOTION_US: u64 = 100_000;
/// A batch that gains little has at most this part of the requests that wait: one in so many.
const QUEUE_SHARE: u32 = 3;

#[derive(Debug)]
struct Lane<T> {
    bucket: u8,
    /// The seat that decides on it.
    claimed_by: Option<usize>,
    queued: usize,
    requests: [VecDeque<Queued<T>>; PRIORITY_COUNT],
}

impl<T> Lane<T> {
    fn new(bucket: u8) -> Self {
        let requests = [const { VecDeque::new() }; PRIORITY_COUNT];
        Self { bucket, claimed_by: None, queued: 0, requests }
    }

    /// The request that is served next: its effective priority, its arrival, its queue.
    fn next(&self, now_us: u64) -> Option<(usize, u64, usize)> {
        let heads = self.requests.iter().enumerate().filter_map(|(priority, queue)| {
            let head = queue.front()?;
            let age_us = now_us.saturating_sub(head.request.enqueued_us);
            let promoted = usize::try_from(age_us / PROMOTION_US).unwrap_or(usize::MAX);
            Some((priority.saturating_sub(promoted), head.arrived, priority))
        });
        heads.min()
    }
}

#[derive(Debug)]
struct ModelQueue<T> {
    key: u64,
    queued: usize,
    /// How much of the workers' time it has had.
    virtual_us: u64,
    lanes: Vec<Lane<T>>,
}

/// The right to take from a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    slot: usize,
    lane: usize,
}

/// What is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Requests, at most.
    pub requests: usize,
    /// Microseconds, at most, by what was measured; none for no limit.
    pub time_us_max: Option<u64>,
    /// Now, by the engine's clock.
    pub now_us: u64,
}

/// What a batch was charged with before it ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    slot: usize,
    key: u64,
    /// The estimate, microseconds.
    pub charged_us: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Queues<T> {
    models: Vec<ModelQueue<T>>,
    /// Slots of the models that have requests.
    busy: Vec<usize>,
    /// The clock of the model that was served last.
    virtual_us: u64,
    arrivals: u64,
    queued: usize,
    unclaimed: usize,
}

impl<T> Default for Queues<T> {
    fn default() -> Self {
        let (models, busy) = (Vec::new(), Vec::new());
        Self { models, busy, virtual_us: 0, arrivals: 0, queued: 0, unclaimed: 0 }
    }
}

impl<T> Queues<T> {
    /// How many requests are in lanes that nobody has claimed.
    pub fn unclaimed(&self) -> usize {
        self.unclaimed
    }

    /// Adds a request; returns the seat that has claimed its lane, if one has.
    pub fn push(&mut self, mut queued: Queued<T>) -> Option<usize> {
        let (slot, key) = (queued.model.slot(), queued.model.key());
        self.arrivals += 1;
        queued.arrived = self.arrivals;
        while self.models.len() <= slot {
            let lanes = Vec::new();
            self.models.push(ModelQueue { key: u64::MAX, queued: 0, virtual_us: 0, lanes });
        }
        let model = &mut self.models[slot];
        if model.key != key {
            // The version that had this slot is gone, and its requests with it.
            (model.key, model.virtual_us) = (key, 0);
        }
        if model.queued == 0 {
            model.virtual_us = model.virtual_us.max(self.virtual_us);
            self.busy.push(slot);
        }
        model.queued += 1;
        self.queued += 1;
        let bucket = queued.size.bucket;
        let known = model.lanes.iter().position(|lane| lane.bucket == bucket);
        let index = known.unwrap_or_else(|| {
            model.lanes.push(Lane::new(bucket));
            model.lanes.len() - 1
        });
        let lane = &mut model.lanes[index];
        lane.queued += 1;
        if lane.claimed_by.is_none() {
            self.unclaimed += 1;
        }
        let priority = usize::from(queued.request.priority).min(PRIORITY_COUNT - 1);
        lane.requests[priority].push_back(queued);
        lane.claimed_by
    }

    /// Claims the lane that is served next, for a seat.
    pub fn claim(&mut self, now_us: u64, seat: usize) -> Option<Claim> {
        self.claim_where(now_us, seat, |_| true)
    }

    /// The same of the lanes whose next request `suits`.
    pub fn claim_where(
        &mut self,
        now_us: u64,
        seat: usize,
        suits: impl Fn(&Queued<T>) -> bool,
    ) -> Option<Claim> {
        if self.unclaimed == 0 {
            return None;
        }
        let mut best = None;
        for &slot in &self.busy {
            let model = &self.models[slot];
            for (lane, waiting) in model.lanes.iter().enumerate() {
                if waiting.claimed_by.is_some() {
                    continue;
                }
                let Some((priority, arrived, queue)) = waiting.next(now_us) else { continue };
                if !waiting.requests[queue].front().is_some_and(&suits) {
                    continue;
                }
                let rank = (priority, model.virtual_us, arrived);
                if best.is_none_or(|(least, _)| rank < least) {
                    best = Some((rank, Claim { slot, lane }));
                }
            }
        }
        let (_, claim) = best?;
        let lane = self.lane_mut(claim)?;
        lane.claimed_by = Some(seat);
        let queued = lane.queued;
        self.unclaimed -= queued;
        Some(claim)
    }

    fn lane(&self, claim: Claim) -> Option<&Lane<T>> {
        self.models.get(claim.slot)?.lanes.get(claim.lane)
    }

    fn lane_mut(&mut self, claim: Claim) -> Option<&mut Lane<T>> {
        self.models.get_mut(claim.slot)?.lanes.get_mut(claim.lane)
    }

    /// How many requests wait in a claimed lane.
    pub fn queued(&self, claim: Claim) -> usize {
        self.lane(claim).map_or(0, |lane| lane.queued)
    }

    /// The moment as a batcher is told.
    pub fn view(&self, claim: Claim, now_us: u64, target_us: u32) -> Option<QueueView> {
        let lane = self.lane(claim)?;
        let heads = lane.requests.iter().filter_map(VecDeque::front);
        let oldest = heads.min_by_key(|head| head.arrived)?;
        let age_us = now_us.saturating_sub(oldest.request.enqueued_us);
        let queued = u32::try_from(lane.queued).unwrap_or(u32::MAX);
        // Behind a long queue the little that larger batches gain is worth more than the wait.
        let worthwhile = oldest.model.estimate.worthwhile(oldest.size.units);
        let worthwhile = worthwhile.map_or(u32::MAX, |most| most.max(queued / QUEUE_SHARE));
        Some(QueueView {
            bucket: lane.bucket.into(),
            queued,
            oldest_us: u32::try_from(age_us).unwrap_or(u32::MAX),
            batch_max: oldest.model.limits().batch_max.min(worthwhile),
            target_us,
        })
    }

    /// Gives up a claim without taking.
    pub fn release(&mut self, claim: Claim) {
        if let Some(lane) = self.lane_mut(claim)
            && lane.claimed_by.take().is_some()
        {
            let queued = lane.queued;
            self.unclaimed += queued;
        }
    }

    /// Gives up whatever a seat has claimed.
    pub fn release_all(&mut self, seat: usize) {
        for slot in 0..self.models.len() {
            for lane in 0..self.models[slot].lanes.len() {
                if self.models[slot].lanes[lane].claimed_by == Some(seat) {
                    self.release(Claim { slot, lane });
                }
            }
        }
    }

    /// Takes a batch out of a claimed lane and gives up the claim. Requests that are late, or that
    /// would be by the estimate of their model, go to `expired` with how late they are, in
    /// microseconds.
    pub fn take(
        &mut self,
        claim: Claim,
        wanted: Wanted,
        batch: &mut Vec<Queued<T>>,
        expired: &mut Vec<(u64, Queued<T>)>,
    ) -> Charge {
        let mut forming = Forming { units: 0, rows: 0, first_deadline_us: u64::MAX, time_us: 0 };
        let mut taken = 0;
        if let Some(lane) = self.lane_mut(claim) {
            while batch.len() < wanted.requests {
                let Some((_, _, queue)) = lane.next(wanted.now_us) else { break };
                let Some(head) = lane.requests[queue].front() else { break };
                let step = forming.step(head, batch.first(), wanted);
                if step == Step::Stop {
                    break;
                }
                let Some(queued) = lane.requests[queue].pop_front() else { break };
                lane.queued -= 1;
                taken += 1;
                match step {
                    Step::Expire(late_us) => expired.push((late_us, queued)),
                    Step::Take | Step::Stop => batch.push(queued),
                }
            }
        }
        self.queued -= taken;
        self.release(claim);
        let Some(model) = self.models.get_mut(claim.slot) else { return Charge::default() };
        model.queued -= taken;
        if model.queued == 0 {
            self.busy.retain(|slot| *slot != claim.slot);
        }
        self.virtual_us = self.virtual_us.max(model.virtual_us);
        // A batch of no measurable time counts as the shortest.
        let charged_us = if batch.is_empty() { 0 } else { forming.time_us.max(1) };
        model.virtual_us = model.virtual_us.saturating_add(charged_us);
        Charge { slot: claim.slot, key: model.key, charged_us }
    }

    /// A batch has computed: its model's clock goes by that instead of the estimate.
    pub fn settle(&mut self, charge: Charge, compute_us: u64) {
        let Some(model) = self.models.get_mut(charge.slot) else { return };
        if model.key == charge.key {
            let without = model.virtual_us.saturating_sub(charge.charged_us);
            model.virtual_us = without.saturating_add(compute_us.max(1));
        }
    }

    /// Takes everything out, for a group whose workers are gone.
    pub fn drain(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// A batch while it is put together.
#[derive(Clone, Copy, Debug)]
struct Forming {
    units: u32,
    rows: u32,
    /// The earliest deadline of those in it.
    first_deadline_us: u64,
    /// The estimate for those in it.
    time_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Take,
    Stop,
    Expire(u64),
}

impl Forming {
    /// What becomes of the next request.
    fn step<T>(&mut self, next: &Queued<T>, first: Option<&Queued<T>>, wanted: Wanted) -> Step {
        let (model, size, now_us) = (&next.model, next.size, wanted.now_us);
        let deadline_us = next.request.deadline_us;
        let lateness = |time_us: u64| {
            let done_us = now_us.saturating_add(time_us);
            Some(done_us.saturating_sub(deadline_us)).filter(|_| done_us > deadline_us)
        };
        if let Some(late_us) = now_us.checked_sub(deadline_us) {
            return Step::Expire(late_us);
        }
        if let Some(late_us) = lateness(model.estimate.time_us(size.units)) {
            model.estimate.doubt(size.units);
            return Step::Expire(late_us);
        }
        let (rows, units) =
            (self.rows.saturating_add(size.rows), self.units.saturating_add(size.units));
        // Of the first one too: what made the lane suit may have expired, or not be next any more.
        let is_short = wanted.time_us_max.is_none_or(|time_us_max| {
            model.estimate.at_most_us(units).is_some_and(|time_us| time_us <= time_us_max)
        });
        let time_us = model.estimate.time_us(units);
        if let Some(first) = first {
            let limits = model.limits();
            let units_max = match model.signature().tokens {
                Some(_) => limits.tokens_max,
                None => u32::MAX,
            };
            let fits = rows <= limits.batch_max && units <= units_max;
            // Nobody is made late by whoever is computed together with him.
            let first_us = self.first_deadline_us.min(deadline_us);
            let in_time = now_us.saturating_add(time_us) <= first_us;
            let is_alike = model.signature().batchable && first.size.shape == size.shape;
            if !is_alike || !fits || !in_time {
                return Step::Stop;
            }
            if !is_short {
                model.estimate.doubt_most(units);
            }
        }
        if !is_short {
            return Step::Stop;
        }
        self.first_deadline_us = self.first_deadline_us.min(deadline_us);
        (self.rows, self.units, self.time_us) = (rows, units, time_us);
        Step::Take
    }
}
