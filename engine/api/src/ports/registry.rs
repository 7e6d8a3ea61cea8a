//! Owns the port of the registry: versions of models added, shown, put to use and removed.
//!
//! Refuses to know where artifacts are kept. Bound: an artifact arrives as a stream of chunks, of
//! which the receiver asks for one after the other, so that none of it waits in memory.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde_json::Value;
use truststram_base::{ModelEntry, ModelId, ModelVersion, UserId};

use super::{ModelFailure, TensorMetadata};

/// How the file of a model is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactFormat {
    /// One `.safetensors` file with the house's metadata.
    Safetensors,
    /// One `.onnx` file.
    Onnx,
    /// A tar file of a Hugging Face folder.
    FolderTar,
}

impl ArtifactFormat {
    /// All of them with their names.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Safetensors, "safetensors"), (Self::Onnx, "onnx"), (Self::FolderTar, "tar")];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// The next bytes of an artifact, or why there are none: the sender went away, or sent too much.
pub type ArtifactChunks = BoxStream<'static, Result<Bytes, ModelFailure>>;

/// A version to register.
pub struct NewVersion {
    /// The model; it is made if need be.
    pub model: ModelId,
    /// The version; `None` for the one after the newest. One that exists is a conflict.
    pub version: Option<ModelVersion>,
    /// Whose it is, if somebody's.
    pub owner: Option<UserId>,
    /// What people call it; the id where it is `None`.
    pub name: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What its owner says of it: the text of a JSON object.
    pub metadata_json: String,
    /// Whether it is the version that answers from now on.
    pub activate: bool,
    /// Whether it stays in memory however long nobody asks for it; it does not where `None`.
    pub keep_warm: Option<bool>,
    /// How its file is laid out.
    pub format: ArtifactFormat,
    /// What the whole artifact must hash to.
    pub sha256: Option<[u8; 32]>,
    /// The size of the artifact in bytes where the sender says so.
    pub bytes: Option<u64>,
    /// The artifact.
    pub chunks: ArtifactChunks,
}

/// What is made of a version. Percent of the questions that name no version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum VersionState {
    /// It is registered and not loaded.
    Registered,
    /// It is read and checked.
    Loading,
    /// It is loaded and answers those who name it.
    Ready,
    /// It answers those who name no version.
    Active,
    /// It answers this share of those who name no version, in whole percent, 1 to 100.
    Canary(u8),
    /// It is asked what the active one is asked, and only compared.
    Shadow,
    /// It answers what it has taken, and takes no more.
    Draining,
    /// It answers no more and is kept.
    Retired,
    /// It was unloaded to make room for others.
    Evicted,
    /// It could not be loaded.
    Failed,
}

impl VersionState {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Active => "active",
            Self::Canary(_) => "canary",
            Self::Shadow => "shadow",
            Self::Draining => "draining",
            Self::Retired => "retired",
            Self::Evicted => "evicted",
            Self::Failed => "failed",
        }
    }
}

/// What a version did as a shadow, in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowFigures {
    /// Answered as well as by the active version, and compared.
    pub rows: u64,
    /// Of these, answered otherwise.
    pub disagreed: u64,
    /// Not asked, because requests waited.
    pub dropped: u64,
    /// Asked and failed.
    pub failed: u64,
}

/// How a version serves; nothing of it is known of one that is not loaded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Serving {
    /// What it occupies in memory.
    pub memory_bytes: Option<u64>,
    /// The share that it answers of those who name no version, in percent, 1 to 100, whatever its
    /// state is called.
    pub canary_percent: Option<u8>,
    /// What it did as a shadow, if it is or was one.
    pub shadow: Option<ShadowFigures>,
    /// Whether it stays in memory however long nobody asks for it.
    pub keep_warm: bool,
    /// Whether a rollback goes to it.
    pub is_previous: bool,
    /// What the check before it could answer found: a JSON object.
    pub validation: Option<Value>,
    /// What was made simpler or faster in it as it was loaded: a JSON object.
    pub optimisation: Option<Value>,
}

/// All that is known of a version.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionDetail {
    /// What is registered.
    pub entry: ModelEntry,
    /// What is made of it.
    pub state: VersionState,
    /// More on the state, such as why it could not be loaded.
    pub reason: Option<String>,
    /// How its file is laid out.
    pub format: ArtifactFormat,
    /// What it takes.
    pub inputs: Vec<TensorMetadata>,
    /// What it gives.
    pub outputs: Vec<TensorMetadata>,
    /// The names of the features, where it has them.
    pub feature_names: Vec<String>,
    /// How many trained numbers it has.
    pub parameter_count: u64,
    /// Operators by name, with how often each occurs.
    pub operators: Vec<(String, u64)>,
    /// How it serves.
    pub serving: Serving,
}

/// What is done to a version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum VersionChange {
    /// It answers those who name no version, from now on and after each start. A canary or shadow
    /// of its is over.
    Activate,
    /// It answers this share of them, in percent, a whole number from 1 to 100; 0 ends that.
    Canary(u8),
    /// It is asked the same as the active one, and only compared.
    Shadow,
    /// It answers no more; the active version cannot be retired.
    Retire,
}

type Answered<T> = BoxFuture<'static, Result<T, ModelFailure>>;

/// The registry of models.
pub trait Registry: Send + Sync {
    /// Shows a version.
    fn version(&self, model: ModelId, version: ModelVersion) -> Answered<VersionDetail>;
    /// Registers a version: all of the artifact is read, checked, and on disk before this ends.
    fn add(&self, new: NewVersion) -> Answered<VersionDetail>;
    /// Changes what is made of a version; ends with what it is now.
    fn change(
        &self,
        model: ModelId,
        version: ModelVersion,
        change: VersionChange,
    ) -> Answered<VersionDetail>;
    /// Makes the version active that was so before the present one; ends with that version.
    fn roll_back(&self, model: ModelId) -> Answered<VersionDetail>;
    /// Removes a version and its file for good; ends with what it was. The active one is a
    /// conflict.
    fn remove(&self, model: ModelId, version: ModelVersion) -> Answered<VersionDetail>;
}
