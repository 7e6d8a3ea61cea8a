//! Floor 3: models, from file to answer.
//!
//! Owns model files, the graphs that importers make of them, the programs and kernels that compute
//! those, and the serving engine: pinned workers, their queues and batches, versions and switches.
//! Refuses to know HTTP, WASM, where files come from and what becomes of an answer; it meets those
//! through the ports [`Batcher`] and [`Sink`].
//! Bound: file sizes by [`truststram_base::limits`], queues and batches by [`EngineOptions`].

pub mod artifact;
mod container;
pub mod encoder;
mod error;
mod file;
pub mod graph;
pub mod kernels;
pub mod onnx;
mod ops;
pub mod optimize;
pub mod passes;
pub mod program;
mod serving;
mod spec;
pub mod tensor;
#[cfg(test)]
mod testing;

pub use container::{Directory, Place};
pub use error::ModelError;
pub use file::{LayerWeights, METADATA_KEY, ModelFile};
pub use ops::class_labels;
pub use serving::{
    Answer, BatchDecision, Batcher, Class, Computes, Done, Engine, EngineOptions, Figures,
    InferRequest, Inference, InlineWorker, Limits, LoadOptions, LoadedModel, ModelInfo, ModelState,
    NativeBatcher, OutputView, PRIORITY_COUNT, PRIORITY_NORMAL, Payload, QueueView, Refused,
    ShadowSnapshot, Sink, Stages, Took, WorkerPlace, WorkerSnapshot,
};
pub use spec::{Activation, Architecture, ElementType, ModelSpec, Preprocessing, TensorSpec};
