//! Owns the worker without a thread: a thread of the caller computes brief batches with it, where
//! to wake a worker of the same core would take longer than the batch.
//!
//! Refuses to know what else its thread does. Bound: one batch for each call, of requests that take
//! at most `inline_us` each by what was measured, and [`BATCH_TIMES`] times that together.

use super::request::Queued;
use super::worker::{Worker, WorkerParts};

/// A batch may take so many times as long as one request.
const BATCH_TIMES: u64 = 4;

/// Who computes a request that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Computes {
    /// A worker, which knows of it.
    Worker,
    /// The inline worker of the calling thread, which is to be run.
    Inline,
}

/// How long inline batches may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    request_us: u64,
}

impl Brief {
    pub fn new(inline_us: u32) -> Self {
        Self { request_us: inline_us.into() }
    }

    /// Whether a request takes so little time, with nobody to be asked after it.
    pub fn allows<T>(self, queued: &Queued<T>) -> bool {
        let model = &queued.model;
        let time_us = model.estimate.at_most_us(queued.size.units);
        time_us.is_some_and(|time_us| time_us <= self.request_us) && model.shadow.load().is_none()
    }

    /// Most microseconds of a batch.
    pub fn batch_us(self) -> u64 {
        self.request_us.saturating_mul(BATCH_TIMES)
    }
}

/// A worker that is run by the thread that owns it, and leaves to the workers of its group whatever
/// is not brief or is to wait.
pub struct InlineWorker<T> {
    worker: Worker<T>,
    brief: Brief,
    place: usize,
}

impl<T: Send> InlineWorker<T> {
    pub(super) fn new(parts: WorkerParts<T>, brief: Brief, place: usize) -> Self {
        Self { worker: Worker::new(parts), brief, place }
    }

    /// Its place among the inline workers, by which requests are queued for it.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Computes a batch of brief requests, if some wait; returns whether there was one, so that
    /// there may be another.
    pub fn run(&mut self) -> bool {
        let served = self.worker.serve_brief(self.brief);
        if !served {
            self.hand_over();
        }
        served
    }

    /// Tells a worker of what waits: to be called where batches were computed for a while and more
    /// may wait, some of it for a worker.
    pub fn hand_over(&self) {
        self.worker.hand_over();
    }
}
