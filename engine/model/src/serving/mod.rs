//! The serving engine: requests in, answers out, one pinned worker per inference core.
//!
//! Owns the queues, the batching and the versions that are loaded.
//! Refuses to know sockets, policies and records; it meets them through [`Batcher`] and [`Sink`].
//! Bound: [`EngineOptions::requests_max`] requests accepted and not yet answered.

mod answer;
mod canary;
mod compute;
mod crew;
mod engine;
mod estimate;
mod figures;
mod gather;
mod group;
mod info;
mod inline;
mod lifecycle;
mod loaded;
mod loader;
mod options;
mod port;
mod queues;
mod registry;
mod request;
mod shadow;
mod stats;
mod validate;
mod worker;

pub use answer::{Answer, Class, Inference, OutputView};
pub use engine::Engine;
pub use figures::{Done, Figures, Stages, Took};
pub use info::ModelInfo;
pub use inline::{Computes, InlineWorker};
pub use loaded::{Limits, LoadedModel, ModelState};
pub use options::{EngineOptions, LoadOptions, WorkerPlace};
pub use port::{BatchDecision, Batcher, NativeBatcher, QueueView, Sink};
pub use request::{InferRequest, PRIORITY_COUNT, PRIORITY_NORMAL, Payload, Refused};
pub use shadow::ShadowSnapshot;
pub use stats::WorkerSnapshot;
pub(crate) use validate::{first_inputs, validate};

#[cfg(test)]
mod tests;
