//! Owns which versions of which models are there, which one answers, and who shares its questions.
//!
//! Refuses to know weights and workers. Bound: `loaded_max` versions in memory and
//! [`RECORD_COUNT_MAX`] records of others; a look-up takes no lock, a change copies the map.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use truststram_base::{ModelId, ModelVersion};

use super::canary::Canary;
use super::info::ModelInfo;
use super::loaded::{LoadedModel, ModelState, Residents, Status};
use crate::error::ModelError;

/// Most records of versions that are not in memory; the oldest are forgotten.
const RECORD_COUNT_MAX: usize = 1_024;

/// A version that is or was there.
#[derive(Clone, Debug)]
struct Record {
    version: ModelVersion,
    status: Arc<Status>,
    /// While it can be asked.
    model: Option<Arc<LoadedModel>>,
}

#[derive(Clone, Debug, Default)]
struct Versions {
    active: Option<Arc<LoadedModel>>,
    /// What was active before.
    previous: Option<ModelVersion>,
    canary: Option<Arc<Canary>>,
    shadow: Option<Arc<LoadedModel>>,
    records: Vec<Record>,
}

impl Versions {
    fn record(&self, version: ModelVersion) -> Option<&Record> {
        self.records.iter().find(|record| record.version == version)
    }

    fn is_active(&self, version: ModelVersion) -> bool {
        self.active.as_ref().is_some_and(|active| active.version() == version)
    }

    fn loaded(&self) -> impl Iterator<Item = &Arc<LoadedModel>> {
        self.records.iter().filter_map(|record| record.model.as_ref())
    }

    /// Whether it answers somebody who does not name it.
    fn is_needed(&self, version: ModelVersion) -> bool {
        let canary = self.canary.as_ref().map(|canary| canary.model.version());
        let shadow = self.shadow.as_ref().map(|shadow| shadow.version());
        self.is_active(version) || canary == Some(version) || shadow == Some(version)
    }

    /// Makes a version the active one.
    fn switch(&mut self, model: &Arc<LoadedModel>) {
        let version = model.version();
        if let Some(old) = self.active.take() {
            old.shadow.store(None);
            old.status().set(ModelState::Ready);
            if old.version() != version {
                self.previous = Some(old.version());
            }
        }
        self.canary = self.canary.take().filter(|canary| canary.model.version() != version);
        self.shadow = self.shadow.take().filter(|shadow| shadow.version() != version);
        model.status().set(ModelState::Active);
        model.shadow.store(self.shadow.clone());
        self.active = Some(Arc::clone(model));
    }

    /// Takes a version out, so that nobody finds it any more.
    fn take(&mut self, version: ModelVersion) -> Option<Arc<LoadedModel>> {
        if self.is_active(version) {
            self.active = None;
        }
        self.canary = self.canary.take().filter(|canary| canary.model.version() != version);
        if self.shadow.as_ref().is_some_and(|shadow| shadow.version() == version) {
            self.shadow = None;
            if let Some(active) = &self.active {
                active.shadow.store(None);
            }
        }
        let record = self.records.iter_mut().find(|record| record.version == version)?;
        record.model.take()
    }
}

type Map = HashMap<ModelId, Versions>;

/// See the module.
#[derive(Debug)]
pub struct Registry {
    map: ArcSwap<Map>,
    /// Held for the whole of a change, so that two of them cannot lose each other.
    change: Mutex<()>,
    loaded_max: usize,
    bytes_max: Option<u64>,
    residents: Arc<Residents>,
}

/// The right to change the registry.
pub struct Change<'a> {
    registry: &'a Registry,
    _held: MutexGuard<'a, ()>,
}

impl Registry {
    pub fn new(loaded_max: usize, bytes_max: Option<u64>) -> Self {
        let map = ArcSwap::from_pointee(Map::new());
        let residents = Arc::default();
        Self { map, change: Mutex::new(()), loaded_max, bytes_max, residents }
    }

    pub fn residents(&self) -> &Arc<Residents> {
        &self.residents
    }

    /// A version, or the active one if none is named.
    pub fn find(&self, id: &ModelId, version: Option<ModelVersion>) -> Option<Arc<LoadedModel>> {
        let map = self.map.load();
        let versions = map.get(id)?;
        match version {
            None => versions.active.clone(),
            Some(version) => versions.record(version)?.model.clone(),
        }
    }

    /// Who answers: the version that is named, or the canary or the active one.
    pub fn route(
        &self,
        id: &ModelId,
        version: Option<ModelVersion>,
        user: Option<&str>,
    ) -> Result<Arc<LoadedModel>, ModelError> {
        let map = self.map.load();
        let versions = map.get(id);
        let not_loaded = |version| ModelError::NotLoaded { model: id.clone(), version };
        let Some(version) = version else {
            let versions = versions.ok_or_else(|| not_loaded(ModelVersion(0)))?;
            let canary = versions.canary.as_ref().filter(|canary| canary.answers(user));
            let chosen = canary.map(|canary| &canary.model).or(versions.active.as_ref());
            return chosen.cloned().ok_or_else(|| not_loaded(ModelVersion(0)));
        };
        let record = versions.and_then(|versions| versions.record(version));
        let record = record.ok_or_else(|| not_loaded(version))?;
        match &record.model {
            Some(model) => Ok(Arc::clone(model)),
            None if record.status.is_evicted() => {
                Err(ModelError::Evicted { model: id.clone(), version })
            }
            None => Err(not_loaded(version)),
        }
    }

    /// Every version that is known, ordered by id and version.
    pub fn list(&self) -> Vec<ModelInfo> {
        let map = self.map.load();
        let of_model = |(id, versions): (&ModelId, &Versions)| -> Vec<ModelInfo> {
            versions.records.iter().map(|record| info(id, versions, record)).collect()
        };
        let mut list: Vec<_> = map.iter().flat_map(of_model).collect();
        list.sort_by(|a, b| (&a.id, a.version).cmp(&(&b.id, b.version)));
        list
    }

    /// Waits for the right to change.
    pub fn change(&self) -> Change<'_> {
        let held = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        Change { registry: self, _held: held }
    }
}

fn info(id: &ModelId, versions: &Versions, record: &Record) -> ModelInfo {
    let version = record.version;
    let canary = versions.canary.as_ref().filter(|canary| canary.model.version() == version);
    let shadow = versions.shadow.as_ref();
    let model = record.model.as_ref();
    ModelInfo {
        id: id.clone(),
        version,
        state: record.status.state(),
        is_evicted: record.status.is_evicted(),
        failure: record.status.failure(),
        is_previous: versions.previous == Some(version),
        canary_percent: canary.map(|canary| canary.percent),
        is_shadow: shadow.is_some_and(|shadow| shadow.version() == version),
        is_kept_warm: model.is_some_and(|model| model.is_kept_warm()),
        memory: model.map(|model| model.memory().clone()).unwrap_or_default(),
        session_bytes: model.map_or(0, |model| model.session_bytes()),
        unanswered: model.map_or(0, |model| model.unanswered()),
        shadow: model.map(|model| model.shadow_counts.snapshot()).unwrap_or_default(),
    }
}

impl Change<'_> {
    /// Notes that a version is being loaded.
    pub fn admit(&self, id: &ModelId, version: ModelVersion) -> Result<Arc<Status>, ModelError> {
        let map = self.registry.map.load();
        let known = map.get(id).and_then(|versions| versions.record(version));
        let is_there = |record: &Record| {
            record.model.is_some() || record.status.state() == ModelState::Loading
        };
        if known.is_some_and(is_there) {
            return Err(ModelError::AlreadyLoaded { model: id.clone(), version });
        }
        let loaded = map.values().flat_map(|versions| &versions.records);
        if loaded.filter(|record| is_there(record)).count() >= self.registry.loaded_max {
            return Err(ModelError::TooManyLoaded { loaded_max: self.registry.loaded_max });
        }
        let status = Arc::new(Status::loading());
        self.update(|map| {
            let records: usize = map.values().map(|versions| versions.records.len()).sum();
            if records >= RECORD_COUNT_MAX {
                for versions in map.values_mut() {
                    versions.records.retain(is_there);
                }
            }
            let versions = map.entry(id.clone()).or_default();
            versions.records.retain(|record| record.version != version);
            let status = Arc::clone(&status);
            versions.records.push(Record { version, status, model: None });
        });
        Ok(status)
    }

    /// Adds a version that was admitted, and makes it the active one if asked to. A model has no
    /// active version until somebody asks for one, so that nobody is answered by accident.
    pub fn insert(&self, model: &Arc<LoadedModel>, activate: bool) {
        self.update(|map| {
            let versions = map.entry(model.id().clone()).or_default();
            let records = versions.records.iter_mut();
            for record in records.filter(|record| record.version == model.version()) {
                record.model = Some(Arc::clone(model));
            }
            model.status().set(ModelState::Ready);
            if activate {
                versions.switch(model);
            }
        });
    }

    /// Makes a loaded version the active one.
    pub fn activate(&self, id: &ModelId, version: ModelVersion) -> Result<(), ModelError> {
        let model = self.registry.route(id, Some(version), None)?;
        self.update(|map| map.entry(id.clone()).or_default().switch(&model));
        Ok(())
    }

    /// Makes the version active that was so before; once more undoes that.
    pub fn roll_back(&self, id: &ModelId) -> Result<ModelVersion, ModelError> {
        let map = self.registry.map.load();
        let previous = map.get(id).and_then(|versions| versions.previous);
        let version = previous.ok_or_else(|| ModelError::NoPrevious { model: id.clone() })?;
        self.activate(id, version)?;
        Ok(version)
    }

    /// Gives a version a share of the questions, or ends that with none.
    pub fn set_canary(
        &self,
        id: &ModelId,
        canary: Option<(ModelVersion, u8)>,
    ) -> Result<(), ModelError> {
        let canary = match canary {
            None => None,
            Some((version, percent)) => {
                if !(1..=100).contains(&percent) {
                    let (option, expected) = ("canary", "1 to 100 percent");
                    return Err(ModelError::Options { option, found: percent.into(), expected });
                }
                let model = self.beside_active(id, version)?;
                Some(Arc::new(Canary::new(model, percent)))
            }
        };
        self.update(|map| {
            if let Some(versions) = map.get_mut(id) {
                versions.canary = canary;
            }
        });
        Ok(())
    }

    /// Has a version asked whatever the active one is asked, or ends that with none.
    pub fn set_shadow(
        &self,
        id: &ModelId,
        version: Option<ModelVersion>,
    ) -> Result<(), ModelError> {
        let shadow = version.map(|version| self.beside_active(id, version)).transpose()?;
        self.update(|map| {
            if let Some(versions) = map.get_mut(id) {
                versions.shadow.clone_from(&shadow);
                if let Some(active) = &versions.active {
                    active.shadow.store(shadow);
                }
            }
        });
        Ok(())
    }

    /// A version that may share the questions of the active one.
    fn beside_active(
        &self,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<Arc<LoadedModel>, ModelError> {
        let model = self.registry.route(id, Some(version), None)?;
        let active = self.registry.find(id, None);
        let none = ModelError::NotLoaded { model: id.clone(), version: ModelVersion(0) };
        let active = active.ok_or(none)?;
        if active.version() == version {
            return Err(ModelError::Active { model: id.clone(), version });
        }
        match super::shadow::is_comparable(active.signature(), model.signature()) {
            true => Ok(model),
            false => Err(ModelError::Incomparable { model: id.clone(), version }),
        }
    }

    /// Takes a version out: it answers what was accepted, and its memory is freed after that. The
    /// active one goes only as the last of its model.
    pub fn retire(&self, id: &ModelId, version: ModelVersion) -> Result<(), ModelError> {
        self.registry.route(id, Some(version), None)?;
        let map = self.registry.map.load();
        let active = map.get(id).filter(|versions| versions.is_active(version));
        if active.is_some_and(|versions| versions.loaded().count() > 1) {
            return Err(ModelError::Active { model: id.clone(), version });
        }
        drop(map);
        if let Some(model) = self.take(id, version) {
            model.status().set(ModelState::Draining);
        }
        self.update(|map| {
            let versions = map.get_mut(id);
            if let Some(versions) = versions.filter(|of| of.previous == Some(version)) {
                versions.previous = None;
            }
        });
        Ok(())
    }

    /// Frees memory for `bytes` more, if versions can be found that nobody needs; the ones that
    /// were not asked for the longest time go first.
    pub fn make_room(&self, bytes: u64) -> Result<(), ModelError> {
        let Some(bytes_max) = self.registry.bytes_max else { return Ok(()) };
        let full = || ModelError::MemoryFull { bytes, bytes_max };
        if bytes > bytes_max {
            return Err(full());
        }
        while self.registry.residents.bytes().saturating_add(bytes) > bytes_max {
            let (id, version) = self.least_recently_used().ok_or_else(full)?;
            tracing::info!(model = %id, %version, "unloaded to make room");
            // It stays the one that a rollback goes to, which then says that it was evicted.
            if let Some(model) = self.take(&id, version) {
                model.status().evict();
            }
        }
        Ok(())
    }

    /// The version that is evicted next: one that a rollback would go to only after all others.
    fn least_recently_used(&self) -> Option<(ModelId, ModelVersion)> {
        let map = self.registry.map.load();
        let candidates = map.iter().flat_map(|(id, versions)| {
            versions.loaded().filter_map(move |model| {
                let version = model.version();
                // The record's handle is the only one, so its memory is free at once.
                let is_free = !versions.is_needed(version)
                    && !model.is_kept_warm()
                    && model.unanswered() == 0
                    && Arc::strong_count(model) == 1;
                let is_previous = versions.previous == Some(version);
                is_free.then(|| (is_previous, model.last_used_us(), id.clone(), version))
            })
        });
        candidates.min().map(|(_, _, id, version)| (id, version))
    }

    /// Takes a version out; readers of the old map may hold it for a moment longer.
    /// Drops what is known of a version that is not in memory.
    pub fn forget(&self, id: &ModelId, version: ModelVersion) {
        self.update(|map| {
            let Some(versions) = map.get_mut(id) else { return };
            versions.records.retain(|record| record.version != version || record.model.is_some());
            if versions.records.is_empty() {
                map.remove(id);
            }
        });
    }

    fn take(&self, id: &ModelId, version: ModelVersion) -> Option<Arc<LoadedModel>> {
        let mut taken = None;
        self.update(|map| {
            taken = map.get_mut(id).and_then(|versions| versions.take(version));
        });
        taken
    }

    fn update(&self, change: impl FnOnce(&mut Map)) {
        let mut map = Map::clone(&self.registry.map.load());
        change(&mut map);
        self.registry.map.store(Arc::new(map));
    }
}
