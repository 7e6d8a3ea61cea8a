//! The serving engine: requests in, answers out, one pinned worker per inference core.
//!
//! Owns the queues, the batching and the versions that are loaded.
//! Refuses to know sockets, policies and records; it meets them through [`Batcher`] and [`Sink`].
//! Bound: [`EngineOptions::requests_max`] requests accepted and not yet answered.

mod engine;
mod inbox;
mod port;
mod registry;
mod replica;
mod stats;
mod worker;

pub use engine::{Engine, EngineOptions, WorkerPlace};
pub use port::{
    BatchDecision, Batcher, InferRequest, Inference, NativeBatcher, QueueView, Refused, Sink,
};
pub use registry::LoadedModel;
pub use stats::WorkerSnapshot;

#[cfg(test)]
mod tests;
