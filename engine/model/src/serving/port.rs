//! Owns the two ports of the engine: who decides on batches, and where answers go.
//!
//! Refuses to know who implements them. Bound: plain data, no allocation.

use super::answer::Inference;
use super::request::Payload;
use crate::error::ModelError;

/// Where one worker's answers go. Called on the worker's thread, so it must not block.
pub trait Sink<T>: Send {
    /// Takes one answer, together with the input that it belongs to. The answer lends what the
    /// model computed for the length of this call.
    fn deliver(&mut self, reply: T, payload: Payload, result: Result<Inference<'_>, ModelError>);

    /// All answers of a batch are delivered: the moment to wake whoever waits for them.
    fn flush(&mut self);
}

/// What a [`Batcher`] is told: the requests of like size for one model that a group of workers
/// holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Which bucket of sizes; 0 for a model whose requests are all of one size. Bucket `b` holds
    /// texts of up to 2^b tokens.
    pub bucket: u32,
    /// Requests that are queued, at least 1.
    pub queued: u32,
    /// Age of the oldest of them, microseconds.
    pub oldest_us: u32,
    /// Most requests of one batch: as many as are allowed, or, where each takes long, as were
    /// measured to be worth it.
    pub batch_max: u32,
    /// Age that no request should be held to, microseconds.
    pub target_us: u32,
}

/// What a [`Batcher`] wants. The worker keeps it within bounds: it takes at most `batch_max`
/// requests, and holds none beyond the age of `target_us`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchDecision {
    /// How many requests to compute together now, oldest first; 0 is to wait and to be asked
    /// again.
    pub take: u32,
    /// For `take` 0: the longest wait, microseconds. Another request ends it sooner.
    pub wait_us: u32,
}

/// Decides which batch to run. Called on the worker's thread once per batch.
pub trait Batcher: Send {
    /// Decides for the queue that is served next. Without a decision the requests that could have
    /// run are answered with `ModelError::Undecided`.
    fn decide(&mut self, view: &QueueView) -> Option<BatchDecision>;
}

/// The default: no waiting, as many as there are. While one batch computes the next one gathers,
/// so the size follows the load; on a CPU a wait adds delay and little throughput.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeBatcher;

impl NativeBatcher {
    /// The decision, which there always is.
    pub fn decision(view: &QueueView) -> BatchDecision {
        BatchDecision { take: view.queued.min(view.batch_max), wait_us: 0 }
    }
}

impl Batcher for NativeBatcher {
    fn decide(&mut self, view: &QueueView) -> Option<BatchDecision> {
        Some(Self::decision(view))
    }
}
