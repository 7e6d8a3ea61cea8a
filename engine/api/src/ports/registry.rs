//! Owns the port of the registry: versions of models added, shown, put to use and removed.
//!
//! Refuses to know where artifacts are kept. Bound: an artifact arrives as a stream of chunks, of
//! which the receiver asks for one after the other, so that none of it waits in memory.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
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
    /// It is loaded and answers those who name it.
    Ready,
    /// It answers those who name no version.
    Active,
    /// It answers this share of those who name no version, in percent, above 0 and at most 100.
    Canary(f64),
    /// It is asked what the active one is asked, and only compared.
    Shadow,
    /// It answers no more and is kept.
    Retired,
    /// It could not be loaded.
    Failed,
}

impl VersionState {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Ready => "ready",
            Self::Active => "active",
            Self::Canary(_) => "canary",
            Self::Shadow => "shadow",
            Self::Retired => "retired",
            Self::Failed => "failed",
        }
    }
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
}

/// What is done to a version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum VersionChange {
    /// It answers those who name no version, from now on and after each start. A canary or shadow
    /// of its is over.
    Activate,
    /// It answers this share of them, in percent, above 0 and at most 100; 0 ends that.
    Canary(f64),
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
