//! Owns the way of a model between its file and the engine: written and registered after
//! training, read back, verified and loaded at start.
//!
//! Refuses to know what a model computes. Bound: files of [`MODEL_FILE_BYTES_MAX`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use truststram_base::limits::MODEL_FILE_BYTES_MAX;
use truststram_base::{Clock, ModelEntry, ModelId, ModelVersion};
use truststram_machine::{MachineError, Ring, Topology, read_file};
use truststram_model::{Engine, LoadOptions, ModelError, ModelFile};
use truststram_store::{Store, StoreError};

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
    /// The directory of the model cannot be made.
    #[error("cannot create {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Writes `file` below `data_dir`, registers it and makes it the active version.
pub fn add(
    store: &Store,
    data_dir: &Path,
    clock: &dyn Clock,
    id: &ModelId,
    version: ModelVersion,
    file: &ModelFile,
    metrics: Vec<(String, f64)>,
) -> Result<ModelEntry, RegistryError> {
    let model_error = |source| RegistryError::Model { id: id.clone(), version, source };
    let folder = format!("models/{id}/{version}");
    let full = data_dir.join(&folder);
    std::fs::create_dir_all(&full)
        .map_err(|source| RegistryError::Directory { path: full.clone(), source })?;
    let path = format!("{folder}/model.safetensors");
    file.write(&data_dir.join(&path)).map_err(model_error)?;
    let bytes = file.to_bytes().map_err(model_error)?;
    let spec = file.spec();
    let entry = ModelEntry {
        id: id.clone(),
        version,
        architecture: "dense".to_owned(),
        path,
        sha256: sha256(&bytes),
        bytes: bytes.len() as u64,
        created_us: clock.utc_us(),
        feature_count: u32::try_from(spec.feature_count()).unwrap_or(u32::MAX),
        classes: spec.classes.clone(),
        metrics,
        active: true,
        owner: None,
        name: id.to_string(),
        tags: Vec::new(),
        metadata_json: "{}".to_owned(),
    };
    store.register_model(&entry)?;
    Ok(entry)
}

/// Loads every registered version, the active one of each model last, so that it is the one that
/// answers.
pub fn load_all<T: Send + 'static>(
    store: &Store,
    engine: &Engine<T>,
    data_dir: &Path,
    ring: &mut dyn Ring,
    topology: &Topology,
) -> Result<(), RegistryError> {
    let mut entries = store.models()?;
    entries.sort_by(|a, b| (&a.id, a.active, a.version).cmp(&(&b.id, b.active, b.version)));
    // The bytes are read near the first worker; each worker copies its replica to its own node.
    let node = topology.nodes.iter().find(|node| !node.cores.is_empty()).map(|node| node.id);
    for entry in entries {
        let (id, version) = (entry.id, entry.version);
        let path = data_dir.join(&entry.path);
        let bytes = read_file(ring, &path, node, MODEL_FILE_BYTES_MAX)
            .map_err(|source| RegistryError::Read { id: id.clone(), version, source })?;
        let found = sha256(&bytes);
        if found != entry.sha256 {
            let expected = entry.sha256;
            return Err(RegistryError::Changed { id, version, path, found, expected });
        }
        let options = LoadOptions { activate: entry.active, ..LoadOptions::default() };
        engine
            .load(&id, version, Arc::new(bytes), &options)
            .map_err(|source| RegistryError::Model { id: id.clone(), version, source })?;
        tracing::info!(model = %id, %version, io = ring.name(), "model loaded");
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
