//! Floor 3: models, from file to answer.
//!
//! Owns the model file, the dense network on candle, and the serving engine: pinned workers, their
//! queues, batching and the atomic switch of versions.
//! Refuses to know HTTP, WASM, where files come from and what becomes of an answer; it meets those
//! through the ports [`Batcher`] and [`Sink`].
//! Bound: file sizes by [`truststram_base::limits`], queues and batches by [`EngineOptions`].

mod dense;
mod error;
mod file;
pub mod graph;
pub mod kernels;
pub mod onnx;
mod ops;
pub mod passes;
pub mod program;
mod serving;
mod spec;
pub mod tensor;
#[cfg(test)]
mod testing;

pub use dense::DenseNet;
pub use error::ModelError;
pub use file::{LayerWeights, METADATA_KEY, ModelFile};
pub use serving::{
    BatchDecision, Batcher, Engine, EngineOptions, InferRequest, Inference, LoadedModel,
    NativeBatcher, QueueView, Refused, Sink, WorkerPlace, WorkerSnapshot,
};
pub use spec::{Activation, Architecture, ElementType, ModelSpec, Preprocessing, TensorSpec};
