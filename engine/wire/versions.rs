//! Owns the joint of the API's registry and the versions: artifacts received, versions shown and
//! changed.
//!
//! Refuses to decide: each change is one call on the thread that owns the versions. Bound:
//! [`UPLOADS_MAX`] artifacts at a time, each on disk but for one chunk; the queues of the threads.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt, ready};
use tokio::sync::Semaphore;
use truststram_api::ports::{
    ArtifactFormat, Failure, ModelFailure, NewVersion, Registry, Serving, ShadowFigures,
    VersionChange, VersionDetail, VersionState,
};
use truststram_base::{ModelEntry, ModelId, ModelVersion};
use truststram_model::artifact::Format;
use truststram_model::{LoadedModel, ModelInfo, ModelState};

use super::background::Background;
use super::serving::{inputs, outputs};
use super::sink::Ticket;
use crate::registry::incoming::{Arrived, Incoming};
use crate::registry::{Described, RegistryError, Versions, format_of, optimisation_of};

/// Artifacts that may arrive at the same time.
pub const UPLOADS_MAX: usize = 4;

/// The registry as the API sees it.
pub struct StoreRegistry {
    /// What is done to versions.
    pub versions: Arc<Versions<Ticket>>,
    /// The thread that does it.
    pub loader: Arc<Background>,
    /// The thread that writes what arrives.
    pub writer: Arc<Background>,
    /// The thread that reads the store.
    pub reader: Arc<Background>,
    /// The right to send.
    pub uploads: Arc<Semaphore>,
}

type Answered<T> = BoxFuture<'static, Result<T, ModelFailure>>;
/// The version as it is after a change.
type Changed = Result<ModelEntry, RegistryError>;

impl From<RegistryError> for ModelFailure {
    fn from(error: RegistryError) -> Self {
        Self { kind: error.kind(), detail: error.to_string() }
    }
}

/// The format as the engine knows it.
fn format(format: ArtifactFormat) -> Format {
    match format {
        ArtifactFormat::Safetensors => Format::Safetensors,
        ArtifactFormat::Onnx => Format::Onnx,
        ArtifactFormat::FolderTar => Format::FolderTar,
    }
}

fn state(info: Option<&ModelInfo>, entry: &ModelEntry, is_retired: bool) -> VersionState {
    let Some(info) = info else {
        return if is_retired { VersionState::Retired } else { VersionState::Registered };
    };
    match info.state {
        ModelState::Loading => VersionState::Loading,
        ModelState::Active if entry.active => VersionState::Active,
        ModelState::Ready | ModelState::Active => match info.canary_percent {
            Some(percent) => VersionState::Canary(percent),
            None if info.is_shadow => VersionState::Shadow,
            None => VersionState::Ready,
        },
        ModelState::Draining if !info.is_evicted => VersionState::Draining,
        ModelState::Draining | ModelState::Retired if info.is_evicted => VersionState::Evicted,
        ModelState::Draining | ModelState::Retired if is_retired => VersionState::Retired,
        ModelState::Draining | ModelState::Retired => VersionState::Registered,
        ModelState::Failed => VersionState::Failed,
    }
}

/// All that is known of a version.
fn detail(versions: &Versions<Ticket>, entry: ModelEntry) -> Result<VersionDetail, RegistryError> {
    let (id, version) = (&entry.id, entry.version);
    let kept = versions.store.model_serving(id)?;
    let infos = versions.engine.models();
    let info = infos.iter().find(|info| info.id == *id && info.version == version);
    let loaded = versions.engine.model(id, Some(version));
    let loaded = loaded.as_deref();
    let reason = versions.failure(id, version);
    let state = match (&reason, loaded) {
        (Some(_), None) => VersionState::Failed,
        _ => state(info, &entry, kept.retired.contains(&version)),
    };
    let summary = loaded.map(LoadedModel::summary).cloned().unwrap_or_default();
    let shadow = info.filter(|info| info.shadow != Default::default()).map(|info| ShadowFigures {
        rows: info.shadow.compared,
        disagreed: info.shadow.disagreed,
        dropped: info.shadow.dropped,
        failed: info.shadow.failed,
    });
    Ok(VersionDetail {
        state,
        reason,
        format: match format_of(&entry) {
            Format::Safetensors => ArtifactFormat::Safetensors,
            Format::Onnx => ArtifactFormat::Onnx,
            Format::FolderTar => ArtifactFormat::FolderTar,
        },
        inputs: loaded.map(|loaded| inputs(loaded.signature())).unwrap_or_default(),
        outputs: loaded.map(|loaded| outputs(loaded.signature())).unwrap_or_default(),
        feature_names: Vec::new(),
        parameter_count: summary.parameters,
        operators: summary.operators.into_iter().collect(),
        serving: Serving {
            memory_bytes: loaded.map(|loaded| loaded.memory().bytes()),
            canary_percent: info.and_then(|info| info.canary_percent),
            shadow,
            keep_warm: kept.kept_warm.contains(&version),
            is_previous: kept.previous == Some(version),
            optimisation: optimisation_of(&entry),
            ..Serving::default()
        },
        entry,
    })
}

impl StoreRegistry {
    /// Does something to a version on the thread that owns them, and shows the version after it.
    fn done(
        &self,
        change: impl FnOnce(&Versions<Ticket>) -> Changed + Send + 'static,
    ) -> Answered<VersionDetail> {
        let versions = self.versions.clone();
        let done = self.loader.run(move || detail(&versions, change(&versions)?));
        done.map(|detail| Ok(detail??)).boxed()
    }
}

/// Receives an artifact chunk by chunk, as fast as the disk takes it.
async fn receive(
    new: &mut NewVersion,
    versions: &Arc<Versions<Ticket>>,
    writer: &Background,
) -> Result<Arrived, ModelFailure> {
    let data_dir = versions.data_dir.clone();
    let mut incoming = writer.run(move || Incoming::create(&data_dir)).await??;
    while let Some(chunk) = new.chunks.next().await {
        let chunk = chunk?;
        let write = move || incoming.write(&chunk).map(|()| incoming);
        incoming = writer.run(write).await??;
    }
    Ok(writer.run(move || incoming.finish()).await??)
}

impl Registry for StoreRegistry {
    fn version(&self, model: ModelId, version: ModelVersion) -> Answered<VersionDetail> {
        let versions = self.versions.clone();
        let shown = self.reader.run(move || detail(&versions, versions.entry(&model, version)?));
        shown.map(|detail| Ok(detail??)).boxed()
    }

    fn add(&self, mut new: NewVersion) -> Answered<VersionDetail> {
        let Ok(permit) = self.uploads.clone().try_acquire_owned() else {
            return ready(Err(Failure::QueueFull("upload").into())).boxed();
        };
        let (versions, writer) = (self.versions.clone(), self.writer.clone());
        let loader = self.loader.clone();
        let added = async move {
            let arrived = receive(&mut new, &versions, &writer).await?;
            let described = Described {
                id: new.model,
                version: new.version,
                owner: new.owner,
                name: new.name,
                tags: new.tags,
                metadata_json: new.metadata_json,
                format: format(new.format),
                activate: new.activate,
                keep_warm: new.keep_warm.unwrap_or(false),
                sha256: new.sha256,
                bytes: new.bytes,
            };
            let registered = loader.run(move || {
                let entry = versions.register(&arrived, described)?;
                // As it is now: it may be the active one.
                detail(&versions, versions.entry(&entry.id, entry.version)?)
            });
            let detail = registered.await??;
            drop(permit);
            Ok(detail)
        };
        added.boxed()
    }

    fn change(
        &self,
        model: ModelId,
        version: ModelVersion,
        change: VersionChange,
    ) -> Answered<VersionDetail> {
        self.done(move |versions| {
            match change {
                VersionChange::Activate => versions.activate(&model, version)?,
                VersionChange::Canary(percent) => versions.canary(&model, version, percent)?,
                VersionChange::Shadow => versions.shadow(&model, version)?,
                VersionChange::Retire => versions.retire(&model, version)?,
            }
            versions.entry(&model, version)
        })
    }

    fn roll_back(&self, model: ModelId) -> Answered<VersionDetail> {
        self.done(move |versions| {
            let version = versions.roll_back(&model)?;
            versions.entry(&model, version)
        })
    }

    fn remove(&self, model: ModelId, version: ModelVersion) -> Answered<VersionDetail> {
        let versions = self.versions.clone();
        let removed = self.loader.run(move || {
            let detail = detail(&versions, versions.entry(&model, version)?)?;
            versions.remove(&model, version)?;
            Ok::<_, RegistryError>(detail)
        });
        removed.map(|detail| Ok(detail??)).boxed()
    }
}
