//! Owns which versions of which models are loaded and which of them is active.
//!
//! Refuses to know weights and workers. Bound: `loaded_max` versions in all; a look-up takes no
//! lock, a change copies the map.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use truststram_base::{ModelId, ModelVersion};

use crate::error::ModelError;
use crate::spec::ModelSpec;

/// One loaded version. Whoever holds it can submit requests to it, even after it is unloaded: the
/// workers keep their replicas as long as a handle lives.
#[derive(Debug)]
pub struct LoadedModel {
    pub(super) id: ModelId,
    pub(super) version: ModelVersion,
    pub(super) spec: Arc<ModelSpec>,
    pub(super) key: ReplicaKey,
    /// Each worker's replica holds the weak side and is dropped some time after this.
    pub(super) _alive: Arc<()>,
}

/// Names the replicas of one loaded version inside the workers; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaKey(pub(super) u64);

impl LoadedModel {
    /// The model's id.
    pub fn id(&self) -> &ModelId {
        &self.id
    }

    /// The version.
    pub fn version(&self) -> ModelVersion {
        self.version
    }

    /// The description.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// How many features one input has.
    pub fn feature_count(&self) -> usize {
        self.spec.feature_count()
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.spec.classes
    }
}

#[derive(Clone, Debug)]
struct Versions {
    active: Arc<LoadedModel>,
    loaded: Vec<Arc<LoadedModel>>,
}

impl Versions {
    fn find(&self, version: ModelVersion) -> Option<&Arc<LoadedModel>> {
        self.loaded.iter().find(|model| model.version == version)
    }
}

type Map = HashMap<ModelId, Versions>;

/// See the module.
#[derive(Debug)]
pub struct Registry {
    map: ArcSwap<Map>,
    /// Held for the whole of a change, so that two of them cannot lose each other.
    change: Mutex<u64>,
    loaded_max: usize,
}

/// The right to change the registry.
pub struct Change<'a> {
    registry: &'a Registry,
    next_key: MutexGuard<'a, u64>,
}

impl Registry {
    pub fn new(loaded_max: usize) -> Self {
        let map = ArcSwap::from_pointee(Map::new());
        Self { map, change: Mutex::new(0), loaded_max }
    }

    pub fn find(&self, id: &ModelId, version: Option<ModelVersion>) -> Option<Arc<LoadedModel>> {
        let map = self.map.load();
        let versions = map.get(id)?;
        match version {
            None => Some(Arc::clone(&versions.active)),
            Some(version) => versions.find(version).cloned(),
        }
    }

    /// Every loaded version, the active ones marked, ordered by id and version.
    pub fn list(&self) -> Vec<(Arc<LoadedModel>, bool)> {
        let map = self.map.load();
        let mut list: Vec<_> = map
            .values()
            .flat_map(|versions| {
                let active = versions.active.version;
                versions
                    .loaded
                    .iter()
                    .map(move |model| (Arc::clone(model), model.version == active))
            })
            .collect();
        list.sort_by(|(a, _), (b, _)| (&a.id, a.version).cmp(&(&b.id, b.version)));
        list
    }

    /// Waits for the right to change.
    pub fn change(&self) -> Change<'_> {
        let next_key = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        Change { registry: self, next_key }
    }
}

impl Change<'_> {
    /// Checks that one more version may be loaded and gives it a key.
    pub fn admit(&mut self, id: &ModelId, version: ModelVersion) -> Result<ReplicaKey, ModelError> {
        let map = self.registry.map.load();
        if map.get(id).is_some_and(|versions| versions.find(version).is_some()) {
            return Err(ModelError::AlreadyLoaded { model: id.clone(), version });
        }
        let loaded: usize = map.values().map(|versions| versions.loaded.len()).sum();
        if loaded >= self.registry.loaded_max {
            return Err(ModelError::TooManyLoaded { loaded_max: self.registry.loaded_max });
        }
        *self.next_key += 1;
        Ok(ReplicaKey(*self.next_key))
    }

    /// Adds a version and makes it the active one.
    pub fn insert(&self, model: Arc<LoadedModel>) {
        self.update(|map| {
            let versions = map
                .entry(model.id.clone())
                .or_insert_with(|| Versions { active: Arc::clone(&model), loaded: Vec::new() });
            versions.loaded.push(Arc::clone(&model));
            versions.active = Arc::clone(&model);
        });
    }

    /// Makes a loaded version the active one.
    pub fn activate(&self, id: &ModelId, version: ModelVersion) -> Result<(), ModelError> {
        let model = self.find(id, version)?;
        self.update(|map| {
            if let Some(versions) = map.get_mut(id) {
                versions.active = Arc::clone(&model);
            }
        });
        Ok(())
    }

    /// Forgets a version. The active one goes only as the last of its model.
    pub fn remove(&self, id: &ModelId, version: ModelVersion) -> Result<(), ModelError> {
        self.find(id, version)?;
        let map = self.registry.map.load();
        let of_model = map.get(id);
        let last = of_model.is_some_and(|versions| versions.loaded.len() == 1);
        if !last && of_model.is_some_and(|versions| versions.active.version == version) {
            return Err(ModelError::Active { model: id.clone(), version });
        }
        self.update(|map| {
            if last {
                map.remove(id);
            } else if let Some(versions) = map.get_mut(id) {
                versions.loaded.retain(|model| model.version != version);
            }
        });
        Ok(())
    }

    fn find(&self, id: &ModelId, version: ModelVersion) -> Result<Arc<LoadedModel>, ModelError> {
        self.registry
            .find(id, Some(version))
            .ok_or_else(|| ModelError::NotLoaded { model: id.clone(), version })
    }

    fn update(&self, change: impl FnOnce(&mut Map)) {
        let mut map = Map::clone(&self.registry.map.load());
        change(&mut map);
        self.registry.map.store(Arc::new(map));
    }
}
