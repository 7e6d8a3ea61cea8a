//! Owns the way of a round's model into the registry: checked and loaded like any that is uploaded.
//!
//! A version says in its metadata which federation it is of, so that one that was registered before
//! a crash is not registered again. Refuses to judge. Bound: the versions that are kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use truststram_api::ports::FederatedFailure;
use truststram_base::{ModelEntry, ModelId, ModelVersion};
use truststram_model::artifact::Format;
use truststram_store::Store;

use crate::registry::incoming::Arrived;
use crate::registry::{Described, RegistryError, Versions};
use crate::wire::background::Background;
use crate::wire::sink::Ticket;

/// Which version of which federation a registered version is.
fn of_run(entry: &ModelEntry, run: i64) -> Option<u64> {
    let metadata: Value = serde_json::from_str(&entry.metadata_json).ok()?;
    let federation = &metadata["federation"];
    (federation["run"] == run).then(|| federation["version"].as_u64()).flatten()
}

/// The newest version of a federation that is registered, and its number there.
pub(super) fn newest(store: &Store, id: &ModelId, run: i64) -> Option<(u64, u32)> {
    let entries = store.model_versions(id).ok()?;
    let own = entries.iter().filter_map(|entry| Some((of_run(entry, run)?, entry.version.0)));
    own.max()
}

/// A model to register.
pub(super) struct New {
    pub id: ModelId,
    pub name: String,
    pub run: i64,
    pub version: u64,
    pub round: u64,
    pub updates: u64,
    pub activate: bool,
    pub keep: usize,
    pub bytes: Vec<u8>,
}

/// Registers a model on the thread that owns versions, and waits for it; gives back its number.
pub(super) fn register(
    versions: &Arc<Versions<Ticket>>,
    thread: &Background,
    new: New,
) -> Result<u32, FederatedFailure> {
    let versions = versions.clone();
    let entered = thread.call(move || entered(&versions, new))?;
    entered.map_err(|error| FederatedFailure::new(error.kind(), error.to_string()))
}

fn entered(versions: &Versions<Ticket>, new: New) -> Result<u32, RegistryError> {
    let New { run, version, round, updates, .. } = new;
    let arrived = Arrived::of(&versions.data_dir, &new.bytes)?;
    let federation = json!({ "run": run, "version": version, "round": round, "updates": updates });
    let described = Described {
        id: new.id.clone(),
        version: None,
        owner: None,
        name: Some(new.name),
        tags: vec!["federated".to_owned()],
        metadata_json: json!({ "federation": federation }).to_string(),
        format: Format::Safetensors,
        activate: new.activate,
        keep_warm: false,
        sha256: None,
        bytes: None,
    };
    let entry = versions.register(&arrived, described)?;
    prune(versions, &new.id, run, new.keep)?;
    Ok(entry.version.0)
}

/// Removes the oldest versions of a federation that nobody uses.
fn prune(
    versions: &Versions<Ticket>,
    id: &ModelId,
    run: i64,
    keep: usize,
) -> Result<(), RegistryError> {
    let serving = versions.store.model_serving(id)?;
    let is_used = |version: ModelVersion| {
        serving.previous == Some(version)
            || serving.shadow == Some(version)
            || serving.canary.is_some_and(|(canary, _)| canary == version)
            || serving.kept_warm.contains(&version)
    };
    let entries = versions.store.model_versions(id)?;
    let own: Vec<&ModelEntry> =
        entries.iter().filter(|entry| of_run(entry, run).is_some()).collect();
    for entry in &own[..own.len().saturating_sub(keep)] {
        if !entry.active && !is_used(entry.version) {
            versions.remove(id, entry.version)?;
        }
    }
    Ok(())
}

/// The file of the version that a federation begins with.
pub(super) fn file_of(data_dir: &Path, entry: &ModelEntry) -> PathBuf {
    data_dir.join(&entry.path)
}
