//! Owns the way of a model between its file and the engine: arrived or written after training,
//! registered, read back, verified, loaded, put to use and removed.
//!
//! What is in the store is what is true: a change is written there before the engine follows, so
//! that a restart finds what was acknowledged. Refuses to know what a model computes and how files
//! are sent. Bound: files of [`MODEL_FILE_BYTES_MAX`]; one change at a time.

mod error;
pub mod incoming;
mod versions;

use std::path::Path;

use sha2::{Digest, Sha256};
use truststram_base::{Clock, ModelEntry, ModelId, ModelVersion};
use truststram_model::ModelFile;
use truststram_store::Store;

pub use error::RegistryError;
pub use versions::{Described, Versions, format_of, optimisation_of};

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
    std::fs::create_dir_all(&full).map_err(|source| RegistryError::File {
        action: "create",
        path: full.clone(),
        source,
    })?;
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

/// The SHA-256 of a model file as it is registered.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
