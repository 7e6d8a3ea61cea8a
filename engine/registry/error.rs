//! Owns why a model could not be registered, loaded or changed.
//!
//! Refuses to know who is told. Bound: one error.

use std::io;
use std::path::PathBuf;

use truststram_base::limits::MODEL_FILE_BYTES_MAX;
use truststram_base::{Kind, ModelId, ModelVersion};
use truststram_machine::MachineError;
use truststram_model::ModelError;
use truststram_store::StoreError;

/// Why a model could not be registered or loaded.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file.
    #[error("model `{id}` version {version}: {source}")]
    Read {
        /// Which model.
        id: ModelId,
        /// Which version.
        version: ModelVersion,
        /// What the machine said.
        source: MachineError,
    },
    /// The model.
    #[error("model `{id}` version {version}: {source}")]
    Model {
        /// Which model.
        id: ModelId,
        /// Which version.
        version: ModelVersion,
        /// What is wrong with it.
        source: ModelError,
    },
    /// The file is not the one that was registered.
    #[error(
        "{} is not the file that was registered as model `{id}` version {version}: its SHA-256 is \
         {found}, expected {expected}; restore it from a backup",
        path.display()
    )]
    Changed {
        /// Which model.
        id: ModelId,
        /// Which version.
        version: ModelVersion,
        /// Its file.
        path: PathBuf,
        /// What the file hashes to.
        found: String,
        /// What it should hash to.
        expected: String,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// More was sent than a model file may have.
    #[error("the artifact is larger than the limit of {MODEL_FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// What arrived is not what was sent.
    #[error("the artifact's SHA-256 is {found}, and {expected} was said; send it again")]
    Checksum {
        /// What the bytes hash to.
        found: String,
        /// What was said.
        expected: String,
    },
    /// Less or more arrived than was said.
    #[error("the artifact has {found} bytes, and {expected} were said; send it again")]
    Length {
        /// What came.
        found: u64,
        /// What was said.
        expected: u64,
    },
    /// The version is the active one, which stays.
    #[error("model `{id}` version {version} is the active one; activate another one first")]
    Active {
        /// Which model.
        id: ModelId,
        /// Which version.
        version: ModelVersion,
    },
    /// The version lost more of its accuracy than it may.
    #[error(
        "model `{id}` version {version} was optimised and lost more accuracy than its limit; \
         `metadata.optimisation` says how much"
    )]
    BeyondLimit {
        /// Which model.
        id: ModelId,
        /// Which version.
        version: ModelVersion,
    },
    /// Nothing was active before.
    #[error("model `{id}` has no version that was active before; activate one by its number")]
    NoPrevious {
        /// Which model.
        id: ModelId,
    },
    /// There is no such model.
    #[error("no model `{0}` is registered; GET /api/v1/models lists them")]
    UnknownModel(ModelId),
    /// There is no such version.
    #[error("model `{0}` has no version {1}; GET /api/v1/models/{0} lists them")]
    UnknownVersion(ModelId, ModelVersion),
    /// No version is the active one.
    #[error("model `{0}` has no active version; activate one by its number")]
    NoneActive(ModelId),
}

impl RegistryError {
    /// What the error means to its receiver.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(source) => source.kind(),
            Self::Read { source, .. } => source.kind(),
            // A file that is no model is not acceptable, whatever part of it is wrong.
            Self::Model { source, .. } => match source.kind() {
                Kind::Malformed | Kind::NotFound | Kind::Timeout => Kind::Invalid,
                kind => kind,
            },
            Self::Changed { .. } => Kind::Corrupt,
            Self::File { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
                _ => Kind::Internal,
            },
            Self::TooLarge => Kind::TooLarge,
            Self::Checksum { .. } => Kind::Invalid,
            Self::Length { .. } => Kind::Malformed,
            Self::Active { .. }
            | Self::BeyondLimit { .. }
            | Self::NoPrevious { .. }
            | Self::NoneActive(_) => Kind::Conflict,
            Self::UnknownModel(_) | Self::UnknownVersion(..) => Kind::NotFound,
        }
    }
}
