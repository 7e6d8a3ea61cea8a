//! Owns the traits through which the API reaches the engine, and the plain types they speak.
//!
//! Refuses to know who implements them; `engine/wire` does. Bound: every call answers or fails
//! within its own deadline, and none blocks the calling thread.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use truststram_base::{Kind, ModelId, ModelVersion, RequestId, UserId};

mod datasets;
mod federated;
mod keys;
mod records;
mod registry;
mod serving;
mod store_operations;
mod tensors;
mod training;

pub use datasets::{
    Appended, Dataset, DatasetFailure, DatasetRow, DatasetRows, Datasets, NewRow, RowReader,
};
pub use federated::{
    Federated, FederatedAnswer, FederatedFailure, FederatedTask, ModelFacts, NewClient,
    SecureAnswers, SecureMessage, SecureRound, SecureStep, SecureSurvivors, Signed, UpdateClaim,
    UpdateReceipt,
};
pub use keys::{KeyChange, Keys, NewKey, OVERLAP_S, TokenAsk, TokenGiven};
pub use records::{
    Explained, ListedModel, ModelsPage, ModelsPlan, ModelsQuery, Page, PageFailure, Performance,
    PredictionsQuery, Records, Statistic, Statistics, StatisticsQuery, StoredAnswer,
};
pub use registry::{
    ArtifactChunks, ArtifactFormat, NewVersion, Registry, Serving, ShadowFigures, VersionChange,
    VersionDetail, VersionState,
};
pub use serving::{
    BatchFigures, IndexEntry, ModelFailure, ModelFigures, ModelMetadata, Models, ServingState,
    TensorMetadata, Took,
};
pub use store_operations::{StoreAction, StoreFailure, StoreOperations};
pub use tensors::{
    Datatype, EmbedAnswer, EmbedAsk, EmbedInputs, RANK_MAX, SimilarityAsk, TensorAnswer, TensorAsk,
    TensorData, Tensors, WireTensor,
};
pub use training::{
    Training, TrainingAnswer, TrainingJob, TrainingProgress, TrainingResult, TrainingState,
};

/// The priority of what must go first.
pub const PRIORITY_MAX: u8 = 3;
/// The priority of what says nothing; 0 is for what can wait.
pub const PRIORITY_DEFAULT: u8 = 1;

/// One value of an input that is given by names.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// It is not known: `null`.
    Missing,
    /// Yes or no.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A text, such as the name of a category.
    Text(String),
    /// Finite numbers.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

/// What a prediction is made from.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The features in the model's order; every value is finite.
    Features(Vec<f32>),
    /// Values by the names of features or inputs, each name once.
    Named(Vec<(String, FieldValue)>),
    /// Tensors, each name once.
    Tensors(Vec<WireTensor>),
    /// A text, not empty.
    Text(String),
}

/// One prediction to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The request this belongs to.
    pub request: RequestId,
    /// The model to ask.
    pub model: ModelId,
    /// The version to ask; `None` means the active one.
    pub version: Option<ModelVersion>,
    /// Who asks.
    pub user: Option<UserId>,
    /// What it is made from.
    pub input: Input,
    /// Whether the answer waits until the record survives a power loss.
    pub durable: bool,
    /// How urgent it is, 0 to [`PRIORITY_MAX`].
    pub priority: u8,
    /// Milliseconds that the caller waits; `None` for the usual deadline.
    pub deadline_ms: Option<u64>,
}

/// One prediction made.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The name of the predicted class.
    pub label: String,
    /// Probability of the predicted class, 0 to 1.
    pub confidence: f32,
    /// Probability per class, in the order of `classes`.
    pub probabilities: Vec<f32>,
    /// The version that answered.
    pub version: ModelVersion,
    /// When the answer was made, microseconds UTC.
    pub timestamp_us: i64,
    /// How long the request waited for its batch, microseconds.
    pub queue_us: u32,
    /// How long its batch was computed, microseconds.
    pub compute_us: u32,
}

/// Why a prediction, or a question to the store, has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// No model of this id is registered.
    #[error("no model `{0}` is registered; GET /api/v1/models lists them")]
    UnknownModel(ModelId),
    /// The model has no such version.
    #[error("model `{0}` has no version {1}; GET /api/v1/models/{0} lists them")]
    UnknownVersion(ModelId, ModelVersion),
    /// The input has the wrong number of features.
    #[error("model `{model}` takes {expected} features, found {found}")]
    FeatureCount {
        /// The model that was asked.
        model: ModelId,
        /// How many features it takes.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A part of the input is not what the model takes.
    #[error("{place} {reason}")]
    Input {
        /// Which part, for example `inputs[0]` or `data.age`.
        place: String,
        /// What is wrong with it and what is expected.
        reason: String,
    },
    /// The input is of another kind than the model takes.
    #[error("model `{model}` takes {takes}")]
    OtherInput {
        /// The model that was asked.
        model: ModelId,
        /// What it takes, and how to give it.
        takes: String,
    },
    /// The model cannot do what is asked of it.
    #[error("model `{model}` does not support this: {reason}")]
    Unsupported {
        /// The model that was asked.
        model: ModelId,
        /// What it cannot do, and what it can.
        reason: String,
    },
    /// The model is registered and does not answer now.
    #[error("model `{model}` is not ready: {reason}")]
    NotReady {
        /// The model that was asked.
        model: ModelId,
        /// Why it is not.
        reason: String,
    },
    /// A bounded queue is full.
    #[error("the {0} queue is full; try again shortly")]
    QueueFull(&'static str),
    /// The deadline passed before the answer was ready.
    #[error("no answer within the deadline of {0} ms")]
    Deadline(u64),
    /// The process is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The batcher policy gives no decision, and the operator wants none in its place.
    #[error("the policy that forms batches gives no decision; try again shortly")]
    Undecided,
    /// The record could not be kept, so the answer is withheld.
    #[error("the prediction could not be stored: {reason}")]
    NotKept {
        /// What the store said.
        reason: String,
    },
    /// The disk is full.
    #[error("the disk is full; predictions are answered again once there is space")]
    NoSpace,
    /// Stored bytes do not match their checksum.
    #[error("stored data is damaged: {reason}")]
    Corrupt {
        /// What the store said.
        reason: String,
    },
    /// An error of ours.
    #[error("internal error: {reason}")]
    Internal {
        /// What the failing part said.
        reason: String,
    },
}

impl Failure {
    /// What the failure means to its receiver.
    pub fn kind(&self) -> Kind {
        match self {
            Self::UnknownModel(_) | Self::UnknownVersion(..) => Kind::NotFound,
            Self::FeatureCount { .. }
            | Self::Input { .. }
            | Self::OtherInput { .. }
            | Self::Unsupported { .. } => Kind::Invalid,
            Self::QueueFull(_) => Kind::Overloaded,
            Self::Deadline(_) => Kind::Timeout,
            Self::Draining | Self::Undecided | Self::NotReady { .. } => Kind::Unavailable,
            Self::NotKept { .. } | Self::Internal { .. } => Kind::Internal,
            Self::NoSpace => Kind::NoSpace,
            Self::Corrupt { .. } => Kind::Corrupt,
        }
    }
}

/// The inference core as the API sees it.
pub trait Infer: Send + Sync {
    /// Queues one prediction; the future ends with the answer.
    fn predict(&self, ask: Ask) -> BoxFuture<'static, Result<Answer, Failure>>;
    /// Queues many before the first is answered; the future ends with an answer for each, in
    /// order.
    fn predict_all(&self, asks: Vec<Ask>) -> BoxFuture<'static, Vec<Result<Answer, Failure>>>;
}

/// How a component is put to use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InstallStage {
    /// In the place of the present one.
    Use,
    /// Beside the present one: asked the same, and only compared.
    Shadow,
    /// Beside the present one, deciding this share of the questions, above 0 and at most 1.
    Canary(f64),
}

/// A component to put to use.
#[derive(Clone, Debug, PartialEq)]
pub struct Install {
    /// Its bytes.
    pub component: Vec<u8>,
    /// The text of one JSON object.
    pub settings_json: String,
    /// Its signature in hexadecimal, if it has one.
    pub signature: Option<String>,
    /// Whether it is installed although it failed the questions that it is asked first.
    pub force: bool,
    /// How it is put to use.
    pub stage: InstallStage,
}

/// What is done to a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyAction {
    /// It is asked again.
    Enable,
    /// It is not asked; the native default decides.
    Disable,
    /// The component before this one takes its place; once more undoes that.
    RollBack,
    /// The component on trial takes the place of the present one.
    Promote,
    /// The component on trial is dropped.
    Discard,
    /// The component that the configuration names takes its place, for good.
    Remove,
}

/// Why a plugin could not be changed; the one in use stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFailure {
    /// What the failure means to its receiver.
    pub kind: Kind,
    /// What is wrong and what to do.
    pub detail: String,
}

impl PolicyFailure {
    /// No plugin has this name.
    pub fn unknown(name: &str, plugins: &[Value]) -> Self {
        let known: Vec<&str> =
            plugins.iter().filter_map(|plugin| plugin["name"].as_str()).collect();
        let known = known.join(", ");
        let detail = format!("no plugin is named `{name}`; there is {known}");
        Self { kind: Kind::NotFound, detail }
    }
}

impl From<Failure> for PolicyFailure {
    fn from(failure: Failure) -> Self {
        Self { kind: failure.kind(), detail: failure.to_string() }
    }
}

/// Recorded runs of decisions.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRuns {
    /// For programs: as they were recorded, one after the other.
    pub frames: Vec<u8>,
    /// For people.
    pub shown: Vec<Value>,
}

/// The plugins as their operator sees them.
pub trait Policies: Send + Sync {
    /// Each plugin with its component and figures.
    fn list(&self) -> Vec<Value>;
    /// Puts a component in the place of the present one, or on trial beside it, now and after each
    /// start.
    fn install(
        &self,
        name: String,
        install: Install,
    ) -> BoxFuture<'static, Result<Value, PolicyFailure>>;
    /// Changes a plugin; ends with what it is now.
    fn act(
        &self,
        name: String,
        action: PolicyAction,
    ) -> BoxFuture<'static, Result<Value, PolicyFailure>>;
    /// Asks a plugin a question of its kind and ends with the answer.
    fn ask(
        &self,
        name: String,
        question: Value,
    ) -> BoxFuture<'static, Result<Value, PolicyFailure>>;
    /// The newest recorded runs of a plugin, at most `limit`, the oldest of them first.
    fn decisions(
        &self,
        name: String,
        limit: usize,
    ) -> BoxFuture<'static, Result<RecordedRuns, PolicyFailure>>;
}

/// The process as its operator sees it.
pub trait Operate: Send + Sync {
    /// Each check by name: `Ok`, or why requests should go elsewhere.
    fn readiness(&self) -> BTreeMap<&'static str, Result<(), String>>;
    /// What was found and chosen, and the depths of the queues.
    fn status(&self) -> Value;
    /// All metrics in the Prometheus text format.
    fn metrics(&self) -> String;
    /// Reads the configuration again and takes over what needs no restart: all of it, or nothing.
    fn reload(&self) -> BoxFuture<'static, Result<(), ReloadFailure>>;
    /// The figures of the cache of answers.
    fn cache(&self) -> Value;
    /// Removes answers from it; returns how many keys that were, or `None` where there is none.
    fn purge(&self, purge: &CachePurge) -> Option<usize>;
}

/// What is removed from the cache of answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CachePurge {
    /// One address, with its query: `example.org/a?b`, with or without a scheme.
    Key(String),
    /// Everything that begins like this.
    Prefix(String),
    /// Everything whose `Cache-Tag` or `Surrogate-Key` has this word.
    Tag(String),
    /// Everything.
    All(bool),
}

/// Why the configuration was not taken over.
#[derive(Clone, Debug, PartialEq)]
pub enum ReloadFailure {
    /// Keys, and what is wrong with each.
    Faults(Vec<(String, String)>),
    /// It was not read at all.
    Busy(Failure),
}
