//! Owns what crosses the border of the engine: a request, its answer, and the two ports.
//!
//! Refuses to know who implements the ports. Bound: plain data; an answer costs one allocation.

use truststram_base::ModelVersion;

use crate::error::ModelError;

/// One row to classify. `T` is whatever the caller needs to hand the answer back.
#[derive(Debug)]
pub struct InferRequest<T> {
    /// The raw features; they come back with the answer.
    pub features: Vec<f32>,
    /// Monotonic microseconds of the engine's clock after which no answer is wanted.
    pub deadline_us: u64,
    /// Monotonic microseconds when the request was made.
    pub enqueued_us: u64,
    /// Comes back with the answer.
    pub reply: T,
}

/// A request that was not accepted, with the reason; nothing of it is lost.
#[derive(Debug)]
pub struct Refused<T> {
    /// Why.
    pub error: ModelError,
    /// The request as it was given.
    pub request: InferRequest<T>,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    /// Index of the most probable class; the first of equals.
    pub class: u32,
    /// Its probability, 0 to 1.
    pub confidence: f32,
    /// The probabilities of all classes, in the model's order.
    pub probabilities: Vec<f32>,
    /// The version that answered.
    pub version: ModelVersion,
    /// How many requests were computed together.
    pub batch_size: u32,
    /// Time from `enqueued_us` to the start of the computation, microseconds.
    pub queue_us: u32,
    /// Time that the whole batch took to compute, microseconds.
    pub compute_us: u32,
}

/// Where one worker's answers go. Called on the worker's thread, so it must not block.
pub trait Sink<T>: Send {
    /// Takes one answer, together with the features that it belongs to.
    fn deliver(&mut self, reply: T, features: Vec<f32>, result: Result<Inference, ModelError>);

    /// All answers of a batch are delivered: the moment to wake whoever waits for them.
    fn flush(&mut self);
}

/// What a [`Batcher`] is told: the requests for one model that one worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Requests that are queued, at least 1.
    pub queued: u32,
    /// Age of the oldest of them, microseconds.
    pub oldest_us: u32,
    /// Most requests of one batch.
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
    /// Decides for the queue that holds the worker's oldest request. Without a decision the
    /// requests that could have run are answered with `ModelError::Undecided`.
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
