//! Owns the port through which models are looked at and switched while they serve.
//!
//! Refuses to know files and registration, which are [`super::Registry`]'s. Bound: the models that
//! are loaded.

use futures_util::future::BoxFuture;
use truststram_base::{Kind, ModelId, ModelVersion};

use super::{Datatype, Failure};

/// Why a model could not be shown or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFailure {
    /// What the failure means to its receiver.
    pub kind: Kind,
    /// What is wrong and what to do.
    pub detail: String,
}

impl From<Failure> for ModelFailure {
    fn from(failure: Failure) -> Self {
        Self { kind: failure.kind(), detail: failure.to_string() }
    }
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMetadata {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// Its dimensions; -1 where any size is taken.
    pub shape: Vec<i64>,
}

/// What a model takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMetadata {
    /// Its id.
    pub model: ModelId,
    /// The versions that are served, ascending.
    pub versions: Vec<ModelVersion>,
    /// What it was made with, for example `onnx_onnxv1` or `truststram_dense`.
    pub platform: String,
    /// What it takes.
    pub inputs: Vec<TensorMetadata>,
    /// What it gives.
    pub outputs: Vec<TensorMetadata>,
}

/// How often something happened and how long it took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// How often.
    pub count: u64,
    /// Nanoseconds in all.
    pub ns: u64,
}

/// The executions of one batch size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchFigures {
    /// How many inferences a batch had.
    pub batch_size: u64,
    /// Preparing inputs.
    pub compute_input: Took,
    /// Computing.
    pub compute_infer: Took,
    /// Taking outputs out.
    pub compute_output: Took,
}

/// What one version of a model did since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFigures {
    /// The model.
    pub model: ModelId,
    /// The version.
    pub version: ModelVersion,
    /// When it was asked last, milliseconds UTC; 0 for never.
    pub last_inference_ms: u64,
    /// Rows answered.
    pub inference_count: u64,
    /// Batches computed.
    pub execution_count: u64,
    /// Requests answered.
    pub success: Took,
    /// Requests failed.
    pub fail: Took,
    /// Waiting in queues.
    pub queue: Took,
    /// Preparing inputs.
    pub compute_input: Took,
    /// Computing.
    pub compute_infer: Took,
    /// Taking outputs out.
    pub compute_output: Took,
    /// Answers out of a cache.
    pub cache_hit: Took,
    /// Questions that a cache had no answer to.
    pub cache_miss: Took,
    /// By the size of the batch, ascending.
    pub batches: Vec<BatchFigures>,
}

/// Whether a version serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServingState {
    /// It is read and prepared.
    Loading,
    /// It answers.
    Ready,
    /// It answers what it has taken, and takes no more.
    Unloading,
    /// It does not answer.
    Unavailable,
}

/// One registered version and whether it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The model.
    pub model: ModelId,
    /// The version.
    pub version: ModelVersion,
    /// Whether it serves.
    pub state: ServingState,
    /// Why it does not, if there is more to say.
    pub reason: String,
}

type Answered<T> = BoxFuture<'static, Result<T, ModelFailure>>;

/// Models as they serve. Where a version is `None`, the active one is meant.
pub trait Models: Send + Sync {
    /// Whether a model answers now; unknown models are failures.
    fn ready(&self, model: ModelId, version: Option<ModelVersion>) -> Answered<bool>;
    /// What a model takes and gives.
    fn metadata(&self, model: ModelId, version: Option<ModelVersion>) -> Answered<ModelMetadata>;
    /// What models did; of all of them, of all versions of one, or of one version.
    fn statistics(
        &self,
        model: Option<ModelId>,
        version: Option<ModelVersion>,
    ) -> Answered<Vec<ModelFigures>>;
    /// Every registered version.
    fn index(&self) -> Answered<Vec<IndexEntry>>;
    /// Loads every version of a registered model that is not retired; what is loaded stays.
    fn load(&self, model: ModelId) -> Answered<()>;
    /// Has every version of a model stop serving once it has answered what it has taken.
    fn unload(&self, model: ModelId) -> Answered<()>;
}
