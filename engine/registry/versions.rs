//! Owns what is done to versions: registered, loaded, put to use, tried out, taken out, removed.
//!
//! Refuses to be called twice at a time: it belongs to one thread. Bound: one file in memory while
//! it is loaded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use truststram_base::limits::MODEL_FILE_BYTES_MAX;
use truststram_base::{Clock, ModelEntry, ModelId, ModelServing, ModelVersion, UserId};
use truststram_machine::{Ring, read_file};
use truststram_model::artifact::Format;
use truststram_model::{Engine, LoadOptions, LoadedModel, ModelError};
use truststram_store::Store;

use super::incoming::Arrived;
use super::{RegistryError, hex, sha256};

/// What is said of a version that is registered.
#[derive(Clone, Debug)]
pub struct Described {
    /// The model.
    pub id: ModelId,
    /// The version; none for the one after the newest.
    pub version: Option<ModelVersion>,
    /// Whose it is.
    pub owner: Option<UserId>,
    /// What people call it.
    pub name: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// The text of a JSON object.
    pub metadata_json: String,
    /// How its file is laid out.
    pub format: Format,
    /// Whether it becomes the active one.
    pub activate: bool,
    /// Whether it stays in memory however long nobody asks for it.
    pub keep_warm: bool,
    /// What its file must hash to.
    pub sha256: Option<[u8; 32]>,
    /// How many bytes its file must have.
    pub bytes: Option<u64>,
}

/// The versions of all models: the store, the files and the engine together.
pub struct Versions<T: Send + 'static> {
    /// What is registered.
    pub store: Arc<Store>,
    /// What answers.
    pub engine: Arc<Engine<T>>,
    /// Where the files are.
    pub data_dir: PathBuf,
    /// Time of registration.
    pub clock: Arc<dyn Clock>,
    /// The NUMA node to whose memory files are read; each worker's node copies its own replica.
    pub node: Option<u32>,
    /// What reads them.
    pub ring: Mutex<Box<dyn Ring>>,
    /// Why versions could not be loaded.
    pub failures: Mutex<BTreeMap<(ModelId, ModelVersion), String>>,
}

type Done<T = ()> = Result<T, RegistryError>;

/// How the file of a version is laid out, which its name says.
pub fn format_of(entry: &ModelEntry) -> Format {
    let format = Format::ALL.iter().find(|(_, ending)| entry.path.ends_with(ending));
    format.map_or(Format::Safetensors, |(format, _)| *format)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Send + 'static> Versions<T> {
    /// Loads what is registered, what is needed first. Retired versions stay out, and so do those
    /// that are not needed and for which there is no room.
    ///
    /// # Errors
    /// If an active version cannot be loaded; others are noted and left out.
    pub fn load_all(&self) -> Done {
        let mut servings = BTreeMap::new();
        let mut ranked = Vec::new();
        for entry in self.store.models()? {
            if !servings.contains_key(&entry.id) {
                servings.insert(entry.id.clone(), self.store.model_serving(&entry.id)?);
            }
            let serving = &servings[&entry.id];
            if let Some(rank) = rank(&entry, serving) {
                ranked.push((rank, entry));
            }
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        for (_, entry) in &ranked {
            match self.load(entry, &servings[&entry.id]) {
                Ok(_) => {}
                Err(error) if entry.active => return Err(error),
                Err(error) => tracing::error!(%error, "a version is left out"),
            }
        }
        servings.iter().for_each(|(id, serving)| self.take_up_trials(id, serving));
        Ok(())
    }

    /// Has canary and shadow of a model tried as they were before it was unloaded.
    fn take_up_trials(&self, id: &ModelId, serving: &ModelServing) {
        let tried = serving.canary.map(|canary| self.engine.set_canary(id, Some(canary)));
        let asked = serving.shadow.map(|shadow| self.engine.set_shadow(id, Some(shadow)));
        for error in tried.into_iter().chain(asked).filter_map(Result::err) {
            tracing::error!(%error, "a trial is not taken up again");
        }
    }

    /// Registers a version whose file has arrived: it is checked and loaded first.
    ///
    /// # Errors
    /// What is wrong with it; nothing is left of it then.
    pub fn register(&self, arrived: &Arrived, new: Described) -> Done<ModelEntry> {
        if let Some(expected) = new.bytes.filter(|bytes| *bytes != arrived.bytes) {
            return Err(RegistryError::Length { found: arrived.bytes, expected });
        }
        if let Some(expected) = new.sha256.filter(|sha256| *sha256 != arrived.sha256) {
            let (found, expected) = (hex(&arrived.sha256), hex(&expected));
            return Err(RegistryError::Checksum { found, expected });
        }
        let known = self.store.model_versions(&new.id)?;
        let next = known.last().map_or(1, |entry| entry.version.0.saturating_add(1));
        let version = new.version.unwrap_or(ModelVersion(next));
        if known.iter().any(|entry| entry.version == version) {
            return Err(truststram_store::StoreError::ModelExists { id: new.id, version }.into());
        }
        let entry = ModelEntry {
            path: format!("models/{}/{version}/model{}", new.id, new.format.ending()),
            sha256: hex(&arrived.sha256),
            bytes: arrived.bytes,
            created_us: self.clock.utc_us(),
            name: new.name.unwrap_or_else(|| new.id.to_string()),
            id: new.id,
            version,
            architecture: String::new(),
            feature_count: 0,
            classes: Vec::new(),
            metrics: Vec::new(),
            active: false,
            owner: new.owner,
            tags: new.tags,
            metadata_json: new.metadata_json,
        };
        let path = self.data_dir.join(&entry.path);
        arrived.place(&path)?;
        let registered = self.enter(entry, new.keep_warm);
        let entry = registered.inspect_err(|_| {
            // A file that stays is replaced by the next of this number.
            let _ = std::fs::remove_file(&path);
        })?;
        if new.activate {
            self.activate(&entry.id, version)?;
        }
        Ok(entry)
    }

    /// Loads a version whose file is in its place and registers it.
    fn enter(&self, entry: ModelEntry, keep_warm: bool) -> Done<ModelEntry> {
        let mut serving = self.store.model_serving(&entry.id)?;
        if keep_warm {
            serving.kept_warm.push(entry.version);
        }
        let loaded = self.load(&entry, &serving);
        // Nobody can ask about what was not registered.
        lock(&self.failures).remove(&(entry.id.clone(), entry.version));
        let loaded = loaded.inspect_err(|_| self.engine.forget(&entry.id, entry.version))?;
        let entry = ModelEntry {
            architecture: architecture_of(&loaded, format_of(&entry)).to_owned(),
            feature_count: loaded.signature().feature_count().map_or(0, |count| count as u32),
            classes: loaded.classes().to_vec(),
            ..entry
        };
        drop(loaded);
        let mut registered = self.store.register_model(&entry);
        if registered.is_ok() && keep_warm {
            registered = self.store.serve_model(&entry.id, None, &serving);
        }
        if let Err(error) = registered {
            self.take_out(&entry.id, entry.version)?;
            self.engine.forget(&entry.id, entry.version);
            return Err(error.into());
        }
        Ok(entry)
    }

    /// Makes a version the one that answers who names none, now and after each start.
    pub fn activate(&self, id: &ModelId, version: ModelVersion) -> Done {
        let entry = self.entry(id, version)?;
        within_limit(&entry)?;
        let mut serving = self.store.model_serving(id)?;
        self.load(&entry, &serving)?;
        if !entry.active {
            let before = self.active(id)?.map(|active| active.version);
            serving.previous = before.or(serving.previous);
        }
        serving.end_trials(version);
        self.store.serve_model(id, Some(version), &serving)?;
        self.engine.activate(id, version).map_err(of(id, version))
    }

    /// Has a version answer a share of those who name none, in percent; 0 ends that.
    pub fn canary(&self, id: &ModelId, version: ModelVersion, percent: u8) -> Done {
        let mut serving = self.trial(id, version)?;
        if percent == 0 {
            serving.canary = serving.canary.filter(|(canary, _)| *canary != version);
            self.store.serve_model(id, None, &serving)?;
            return self.engine.set_canary(id, serving.canary).map_err(of(id, version));
        }
        let before = serving.clone();
        serving.end_trials(version);
        serving.canary = Some((version, percent));
        let set = |serving: &ModelServing| {
            self.engine.set_canary(id, serving.canary)?;
            self.engine.set_shadow(id, serving.shadow)
        };
        set(&serving).map_err(of(id, version))?;
        self.store.serve_model(id, None, &serving).inspect_err(|_| {
            let _ = set(&before);
        })?;
        Ok(())
    }

    /// Has a version asked what the active one is asked, only to compare.
    pub fn shadow(&self, id: &ModelId, version: ModelVersion) -> Done {
        let mut serving = self.trial(id, version)?;
        let before = serving.clone();
        serving.end_trials(version);
        serving.shadow = Some(version);
        let set = |serving: &ModelServing| {
            self.engine.set_shadow(id, serving.shadow)?;
            self.engine.set_canary(id, serving.canary)
        };
        set(&serving).map_err(of(id, version))?;
        self.store.serve_model(id, None, &serving).inspect_err(|_| {
            let _ = set(&before);
        })?;
        Ok(())
    }

    /// A version that may be tried beside the active one, loaded.
    fn trial(&self, id: &ModelId, version: ModelVersion) -> Done<ModelServing> {
        let entry = self.entry(id, version)?;
        if entry.active {
            return Err(RegistryError::Active { id: id.clone(), version });
        }
        within_limit(&entry)?;
        if self.active(id)?.is_none() {
            return Err(RegistryError::NoneActive(id.clone()));
        }
        let serving = self.store.model_serving(id)?;
        self.load(&entry, &serving)?;
        Ok(serving)
    }

    /// Takes a version out of memory for good; its file stays.
    pub fn retire(&self, id: &ModelId, version: ModelVersion) -> Done {
        let entry = self.entry(id, version)?;
        if entry.active {
            return Err(RegistryError::Active { id: id.clone(), version });
        }
        let mut serving = self.store.model_serving(id)?;
        serving.end_trials(version);
        serving.retired.push(version);
        serving.retired.sort_unstable();
        self.store.serve_model(id, None, &serving)?;
        self.take_out(id, version)
    }

    /// Makes the version active that was so before; once more undoes that.
    pub fn roll_back(&self, id: &ModelId) -> Done<ModelVersion> {
        if self.store.model_versions(id)?.is_empty() {
            return Err(RegistryError::UnknownModel(id.clone()));
        }
        let previous = self.store.model_serving(id)?.previous;
        let version = previous.ok_or_else(|| RegistryError::NoPrevious { id: id.clone() })?;
        self.activate(id, version)?;
        Ok(version)
    }

    /// Removes a version and its file.
    pub fn remove(&self, id: &ModelId, version: ModelVersion) -> Done<ModelEntry> {
        self.entry(id, version)?;
        let entry = self.store.remove_model(id, version)?;
        self.take_out(id, version)?;
        self.engine.forget(id, version);
        let path = self.data_dir.join(&entry.path);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(RegistryError::File { action: "remove", path, source });
            }
            _ => {}
        }
        // The folder goes with the last file in it.
        let _ = path.parent().map(std::fs::remove_dir);
        Ok(entry)
    }

    /// Loads every version of a model that is not retired.
    pub fn load_model(&self, id: &ModelId) -> Done {
        let serving = self.store.model_serving(id)?;
        let entries = self.store.model_versions(id)?;
        if entries.is_empty() {
            return Err(RegistryError::UnknownModel(id.clone()));
        }
        for entry in entries.iter().filter(|entry| rank(entry, &serving).is_some()) {
            self.load(entry, &serving)?;
        }
        self.take_up_trials(id, &serving);
        Ok(())
    }

    /// Takes every version of a model out of memory, until it is loaded again or the next start.
    pub fn unload_model(&self, id: &ModelId) -> Done {
        let mut entries = self.store.model_versions(id)?;
        if entries.is_empty() {
            return Err(RegistryError::UnknownModel(id.clone()));
        }
        entries.sort_by_key(|entry| entry.active);
        entries.iter().try_for_each(|entry| self.take_out(id, entry.version))
    }

    /// Loads a version again that had to make room.
    pub fn reload(&self, id: &ModelId, version: ModelVersion) -> Done {
        let entry = self.entry(id, version)?;
        self.load(&entry, &self.store.model_serving(id)?)?;
        Ok(())
    }

    /// One registered version.
    pub fn entry(&self, id: &ModelId, version: ModelVersion) -> Done<ModelEntry> {
        if let Some(entry) = self.store.model_version(id, version)? {
            return Ok(entry);
        }
        Err(match self.store.model_versions(id)?.is_empty() {
            true => RegistryError::UnknownModel(id.clone()),
            false => RegistryError::UnknownVersion(id.clone(), version),
        })
    }

    /// Why a version could not be loaded.
    pub fn failure(&self, id: &ModelId, version: ModelVersion) -> Option<String> {
        lock(&self.failures).get(&(id.clone(), version)).cloned()
    }

    fn active(&self, id: &ModelId) -> Done<Option<ModelEntry>> {
        Ok(self.store.model_versions(id)?.into_iter().find(|entry| entry.active))
    }

    fn take_out(&self, id: &ModelId, version: ModelVersion) -> Done {
        match self.engine.retire(id, version) {
            Ok(()) | Err(ModelError::NotLoaded { .. } | ModelError::Evicted { .. }) => Ok(()),
            Err(error) => Err(of(id, version)(error)),
        }
    }

    fn load(&self, entry: &ModelEntry, serving: &ModelServing) -> Done<Arc<LoadedModel>> {
        let (id, version) = (&entry.id, entry.version);
        if let Some(loaded) = self.engine.model(id, Some(version)) {
            return Ok(loaded);
        }
        let key = (id.clone(), version);
        let loaded = self.read_and_load(entry, serving);
        match &loaded {
            Ok(_) => lock(&self.failures).remove(&key),
            Err(error) => lock(&self.failures).insert(key, error.to_string()),
        };
        loaded
    }

    fn read_and_load(&self, entry: &ModelEntry, serving: &ModelServing) -> Done<Arc<LoadedModel>> {
        let (id, version) = (&entry.id, entry.version);
        let path = self.data_dir.join(&entry.path);
        let mut ring = lock(&self.ring);
        let bytes = read_file(ring.as_mut(), &path, self.node, MODEL_FILE_BYTES_MAX);
        let bytes =
            bytes.map_err(|source| RegistryError::Read { id: id.clone(), version, source })?;
        let found = sha256(&bytes);
        if found != entry.sha256 {
            let (id, expected) = (id.clone(), entry.sha256.clone());
            return Err(RegistryError::Changed { id, version, path, found, expected });
        }
        let options = LoadOptions {
            format: format_of(entry),
            activate: entry.active,
            keep_warm: serving.kept_warm.contains(&version),
            ..LoadOptions::default()
        };
        let loaded = self.engine.load(id, version, Arc::new(bytes), &options);
        let loaded = loaded.map_err(of(id, version))?;
        tracing::info!(model = %id, %version, io = ring.name(), "model loaded");
        Ok(loaded)
    }
}

/// The report of the version's optimisation, where its metadata have one.
pub fn optimisation_of(entry: &ModelEntry) -> Option<serde_json::Value> {
    let mut metadata = serde_json::from_str::<serde_json::Value>(&entry.metadata_json).ok()?;
    metadata.get_mut("optimisation").map(serde_json::Value::take)
}

/// Refuses a version that lost more of its accuracy than it may: nobody is answered by it unless
/// they name it.
fn within_limit(entry: &ModelEntry) -> Done {
    let report = optimisation_of(entry);
    match report.as_ref().and_then(|report| report["is_within_limit"].as_bool()) {
        Some(false) => {
            Err(RegistryError::BeyondLimit { id: entry.id.clone(), version: entry.version })
        }
        _ => Ok(()),
    }
}

/// Which versions are loaded first at a start; none of those that are retired.
fn rank(entry: &ModelEntry, serving: &ModelServing) -> Option<u8> {
    let version = entry.version;
    let is_tried = serving.canary.is_some_and(|(canary, _)| canary == version)
        || serving.shadow == Some(version)
        || serving.kept_warm.contains(&version);
    match () {
        () if entry.active => Some(0),
        () if serving.retired.contains(&version) => None,
        () if is_tried => Some(1),
        () if serving.previous == Some(version) => Some(2),
        () => Some(3),
    }
}

/// What kind of model it is, in a word.
fn architecture_of(loaded: &LoadedModel, format: Format) -> &'static str {
    match (loaded.dense(), loaded.signature().tokens, format) {
        (Some(_), ..) => "dense",
        (None, Some(_), _) | (None, None, Format::FolderTar) => "encoder",
        (None, None, Format::Onnx) => "onnx",
        (None, None, Format::Safetensors) => "graph",
    }
}

fn of(id: &ModelId, version: ModelVersion) -> impl FnOnce(ModelError) -> RegistryError {
    let id = id.clone();
    move |source| RegistryError::Model { id, version, source }
}
