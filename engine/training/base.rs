//! Owns the way of a registered model into a training that begins with it: chosen when the job is
//! made, read again whenever the job is begun.
//!
//! Refuses to know the registry's files beyond the one of the version. Bound: that file and what is
//! read from it, for which there has to be room.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use truststram_api::ports::ModelFailure;
use truststram_base::limits::MODEL_FILE_BYTES_MAX;
use truststram_base::{Kind, ModelEntry, ModelId, ModelVersion};
use truststram_machine::MemoryRoom;
use truststram_model::artifact::Artifact;
use truststram_store::{Store, StoreError};
use truststram_train::{BaseSpec, JobSpec, TextTraining};

use super::job::invalid;
use crate::registry::{format_of, sha256};

/// Limits the runs that tell what an ONNX file is.
const READ_TIME: Duration = Duration::from_secs(60);
/// The file, the model in it, and its weights in the order of training.
const COPIES: u64 = 3;

fn failed(error: &StoreError) -> ModelFailure {
    ModelFailure { kind: error.kind(), detail: error.to_string() }
}

/// The version that a description begins with: the active one where it names none.
pub(super) fn chosen(store: &Store, base: &BaseSpec) -> Result<ModelEntry, ModelFailure> {
    let unknown = |detail| ModelFailure { kind: Kind::NotFound, detail };
    let id = ModelId::new(&base.model).map_err(|error| invalid(format!("base.model: {error}")))?;
    let known = store.model_versions(&id).map_err(|error| failed(&error))?;
    if known.is_empty() {
        let detail = "is registered to begin with; GET /api/v1/models lists those that are";
        return Err(unknown(format!("base.model: no model `{id}` {detail}")));
    }
    let found = match base.version.map(ModelVersion) {
        Some(version) => {
            known.into_iter().find(|entry| entry.version == version).ok_or_else(|| {
                let detail = format!("base.version: the model `{id}` has no version {version}");
                unknown(format!("{detail}; GET /api/v1/models/{id} lists those that it has"))
            })
        }
        None => known.into_iter().find(|entry| entry.active).ok_or_else(|| {
            invalid(format!("base.version is missing: no version of the model `{id}` is active"))
        }),
    }?;
    match found.architecture.as_str() {
        "encoder" => Ok(found),
        other => Err(invalid(format!(
            "base.model: version {} of `{id}` is of the kind `{other}`; name a model that reads \
             texts, of the kind `encoder`",
            found.version
        ))),
    }
}

/// The training of a description that begins with this version.
pub(super) fn training(
    data_dir: &Path,
    entry: &ModelEntry,
    spec: &JobSpec,
) -> Result<TextTraining, ModelFailure> {
    let Some(base) = &spec.base else { return Err(invalid("`base` is missing")) };
    let artifact = read(data_dir, entry)?;
    TextTraining::of_base(&spec.train, base.of(&artifact))
        .map_err(|error| ModelFailure { kind: error.kind(), detail: error.to_string() })
}

/// The model of a version, if its file is the one that was registered.
fn read(data_dir: &Path, entry: &ModelEntry) -> Result<Artifact, ModelFailure> {
    let what = format!("version {} of `{}`", entry.version, entry.id);
    let (need, room) = (entry.bytes.saturating_mul(COPIES), MemoryRoom::of_host());
    // A host that does not say has room.
    let room = room.map_or(u64::MAX, |room| room.available_bytes);
    if need > room {
        let (need, room) = (need >> 20, room >> 20);
        let detail = format!("to read {what} takes {need} MiB and there are {room}");
        return Err(ModelFailure { kind: Kind::Unavailable, detail });
    }
    let path = data_dir.join(&entry.path);
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MODEL_FILE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| {
            let detail = format!("cannot read {}: {error}", path.display());
            ModelFailure { kind: Kind::Internal, detail }
        })?;
    if sha256(&bytes) != entry.sha256 {
        let path = path.display();
        let detail =
            format!("{what} has changed since it was registered: {path}; register it anew");
        return Err(ModelFailure { kind: Kind::Corrupt, detail });
    }
    Artifact::read(format_of(entry), &bytes, Instant::now() + READ_TIME).map_err(|error| {
        ModelFailure { kind: error.kind(), detail: format!("{what} cannot be read: {error}") }
    })
}
