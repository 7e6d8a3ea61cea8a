//! Owns everything that can go wrong with a model: its file, its computation, its serving.
//!
//! Refuses to know HTTP statuses and exit codes. Bound: sources are shared, so that one failed
//! batch can give the same error to each of its requests.

use std::path::PathBuf;
use std::sync::Arc;

use truststram_base::{Kind, ModelId, ModelVersion};
use truststram_machine::MachineError;

use crate::program::RunError;

/// What can go wrong with a model.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ModelError {
    /// The file is no safetensors container.
    #[error("the model file's {part} is {found}, expected {expected}; export the model again")]
    Container {
        /// The part of the container.
        part: &'static str,
        /// What the file holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A header or a description is no JSON of the expected form.
    #[error("the model file's {part} cannot be read as JSON: {source}; export the model again")]
    Json {
        /// Which JSON document.
        part: &'static str,
        /// What the parser says.
        source: Arc<serde_json::Error>,
    },
    /// A field of the model's description has a value that cannot be.
    #[error("the model description's `{field}` is {found}, expected {expected}")]
    Spec {
        /// The field, as in the JSON.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A tensor does not fit the model's description.
    #[error("the model file's tensor `{tensor}` has {found}, expected {expected}")]
    Tensor {
        /// The tensor's name.
        tensor: String,
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// A file of an encoder's folder is missing, or does not say what can be computed.
    #[error("the folder's {file} has at `{key}` {found}, expected {expected}")]
    Folder {
        /// The file.
        file: String,
        /// The key or the tensor; empty for the whole file.
        key: String,
        /// What is there.
        found: String,
        /// What can be computed.
        expected: String,
    },
    /// The graph is none: something is made twice, or used before it is made.
    #[error("the model's graph has at {place}: {found}, expected {expected}; export it again")]
    Graph {
        /// The node.
        place: String,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// An operator, or a use of it, that this engine does not compute.
    #[error(
        "the model needs `{operator}` at {place}, which cannot be run: {reason}; \
         export it with other operators"
    )]
    Unsupported {
        /// The operator, with its domain where it is not ai.onnx.
        operator: String,
        /// The node.
        place: String,
        /// What about it is not computed.
        reason: String,
    },
    /// A run stopped at a node.
    #[error("the model stopped at {place}: {source}")]
    Run {
        /// The node.
        place: Arc<str>,
        /// Why.
        source: RunError,
    },
    /// The file or a part of it exceeds its limit.
    #[error("the model file's {part} has {bytes} bytes, the limit is {bytes_max}")]
    TooLarge {
        /// The part.
        part: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A step that would make another version of a model cannot be taken.
    #[error("the model cannot be optimised by `{step}`: {reason}")]
    Optimize {
        /// The step, as the options name it.
        step: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// An optimised version answers worse than it may.
    #[error(
        "the optimised model loses {loss} of its accuracy, the limit is {limit}; keep the version \
         that it was made of, or prune less and leave 8-bit numbers out"
    )]
    AccuracyLoss {
        /// What it loses, as a share of all rows.
        loss: f64,
        /// The most that it may lose.
        limit: f64,
    },
    /// The file system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: Arc<std::io::Error>,
    },
    /// An option of the engine cannot be.
    #[error("the engine's option `{option}` is {found}, expected {expected}")]
    Options {
        /// The option.
        option: &'static str,
        /// Its value.
        found: u64,
        /// What it should be.
        expected: &'static str,
    },
    /// The worker's thread could not be started or ended badly.
    #[error(transparent)]
    Machine(#[from] Arc<MachineError>),
    /// The model's id or version is not loaded.
    #[error("model `{model}` version {version} is not loaded; load it first")]
    NotLoaded {
        /// The model.
        model: ModelId,
        /// The version asked for.
        version: ModelVersion,
    },
    /// This version is loaded already; versions never change.
    #[error("model `{model}` version {version} is loaded already; give new weights a new version")]
    AlreadyLoaded {
        /// The model.
        model: ModelId,
        /// The version.
        version: ModelVersion,
    },
    /// The version takes or gives something else than the active one.
    #[error(
        "model `{model}` version {version} cannot be tried beside the active version: it takes or \
         gives something else; activate it, or give it an id of its own"
    )]
    Incomparable {
        /// The model.
        model: ModelId,
        /// The version.
        version: ModelVersion,
    },
    /// The active version cannot be unloaded.
    #[error("model `{model}` version {version} is the active one; activate another one first")]
    Active {
        /// The model.
        model: ModelId,
        /// The version.
        version: ModelVersion,
    },
    /// No more versions may be loaded.
    #[error("{loaded_max} model versions are loaded, which is the limit; unload one first")]
    TooManyLoaded {
        /// The limit.
        loaded_max: usize,
    },
    /// The policy that forms batches gave no decision, and nothing may take its place.
    #[error("the batcher policy gives no decision; try again shortly")]
    Undecided,
    /// The version was unloaded to make room for others.
    #[error("model `{model}` version {version} was unloaded to make room; load it again")]
    Evicted {
        /// The model.
        model: ModelId,
        /// The version.
        version: ModelVersion,
    },
    /// There is no version to go back to.
    #[error("model `{model}` has no version before the active one; activate one by its number")]
    NoPrevious {
        /// The model.
        model: ModelId,
    },
    /// The version does not fit into the memory that models may use.
    #[error(
        "the model needs {bytes} bytes and {bytes_max} are for models, the rest is in use; \
         retire a version or allow more memory"
    )]
    MemoryFull {
        /// What it needs.
        bytes: u64,
        /// What all models may use.
        bytes_max: u64,
    },
    /// The run that checks a version before it is used gave something else than promised.
    #[error("the model failed its first run: {what} is {found}, expected {expected}")]
    Validation {
        /// What was looked at.
        what: String,
        /// What it was.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// An input does not fit the model's signature.
    #[error("the input `{input}` is {found}, expected {expected}")]
    Input {
        /// The input's name.
        input: String,
        /// What came.
        found: String,
        /// What the model takes.
        expected: String,
    },
    /// The input has the wrong number of features.
    #[error("the input has {found} features, the model expects {expected}")]
    FeatureCount {
        /// Features in the input.
        found: usize,
        /// Features of the model.
        expected: usize,
    },
    /// More rows than the network was prepared for.
    #[error("a batch of {rows} rows is more than the {rows_max} that the network is built for")]
    BatchSize {
        /// Rows asked for.
        rows: usize,
        /// Rows prepared for.
        rows_max: usize,
    },
    /// The answer is not a number.
    #[error("the model's answer is not finite; check the input for huge or missing values")]
    NotFinite,
    /// Every queue is full.
    #[error("the inference queue holds {requests_max} requests, which is its limit; retry later")]
    QueueFull {
        /// The limit of one worker's queue.
        requests_max: usize,
    },
    /// The deadline passed while the request was queued.
    #[error("the deadline passed {late_us} us before the computation could start; retry later")]
    Expired {
        /// How late the worker was.
        late_us: u64,
    },
    /// The engine is closing or closed.
    #[error("the inference engine is closed; send the request to another instance")]
    Closed,
    /// The computation panicked; the worker goes on.
    #[error("the model's computation panicked: {message}; this is a defect, please report it")]
    Panicked {
        /// The panic's message.
        message: Arc<str>,
    },
}

impl ModelError {
    /// Who caused the error and whether a retry can help.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Container { .. } | Self::Json { .. } | Self::Graph { .. } => Kind::Malformed,
            Self::Run { source, .. } => match source {
                RunError::Input { .. } => Kind::Invalid,
                RunError::TooLarge { .. } => Kind::TooLarge,
                RunError::Late => Kind::Timeout,
            },
            Self::Unsupported { .. } => Kind::Invalid,
            Self::Spec { .. }
            | Self::Tensor { .. }
            | Self::Folder { .. }
            | Self::Options { .. }
            | Self::Optimize { .. }
            | Self::AccuracyLoss { .. }
            | Self::FeatureCount { .. }
            | Self::Validation { .. }
            | Self::Input { .. }
            | Self::NotFinite => Kind::Invalid,
            Self::TooLarge { .. } | Self::BatchSize { .. } => Kind::TooLarge,
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull => Kind::NoSpace,
                std::io::ErrorKind::NotFound => Kind::NotFound,
                _ => Kind::Internal,
            },
            Self::Machine(source) => source.kind(),
            Self::NotLoaded { .. } => Kind::NotFound,
            Self::AlreadyLoaded { .. }
            | Self::Active { .. }
            | Self::Incomparable { .. }
            | Self::NoPrevious { .. }
            | Self::MemoryFull { .. }
            | Self::TooManyLoaded { .. } => Kind::Conflict,
            Self::QueueFull { .. } => Kind::Overloaded,
            Self::Expired { .. } => Kind::Timeout,
            Self::Closed | Self::Undecided | Self::Evicted { .. } => Kind::Unavailable,
            Self::Panicked { .. } => Kind::Internal,
        }
    }
}

impl From<MachineError> for ModelError {
    fn from(source: MachineError) -> Self {
        Self::Machine(Arc::new(source))
    }
}
