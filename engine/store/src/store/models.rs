//! Owns the part of the store's face that keeps models, training data, decisions, and
//! records of federations, of access and of trainings.
//!
//! Refuses to know how it is done; see the module that each method calls. Bound: as those.

use truststram_base::{ModelEntry, ModelId, ModelServing, ModelVersion};

use super::Store;
use crate::datasets::{DatasetInfo, DatasetName, DatasetScan, TrainingRow};
use crate::disagreement::Disagreement;
use crate::error::StoreError;
use crate::registry::list::{ModelList, ModelQuery};
use crate::registry::shelf::Shelf;

impl Store {
    /// Registers a version of a model and syncs it. An active one becomes the model's only active
    /// version.
    ///
    /// # Errors
    /// [`StoreError::ModelExists`] if this version is registered; [`StoreError::ModelRefused`] if
    /// a field of it is not acceptable.
    pub fn register_model(&self, entry: &ModelEntry) -> Result<(), StoreError> {
        self.registry.register(entry)
    }

    /// Every registered version of every model, by id and version.
    pub fn models(&self) -> Result<Vec<ModelEntry>, StoreError> {
        self.registry.all()
    }

    /// The registered versions of one model, ascending; empty if there are none.
    pub fn model_versions(&self, id: &ModelId) -> Result<Vec<ModelEntry>, StoreError> {
        self.registry.versions(id)
    }

    /// One registered version, if it is there.
    pub fn model_version(
        &self,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<Option<ModelEntry>, StoreError> {
        self.registry.version(id, version)
    }

    /// A page of the registered versions that match, newest first, and how they were found.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if anything that the page needs is damaged.
    pub fn list_models(&self, query: &ModelQuery) -> Result<ModelList, StoreError> {
        self.registry.list(query)
    }

    /// Makes a registered version its model's active one and syncs. Gives back the version that
    /// was active.
    ///
    /// # Errors
    /// [`StoreError::ModelUnknown`] if the version is not registered.
    pub fn activate_model(
        &self,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<Option<ModelVersion>, StoreError> {
        self.registry.activate(id, version)
    }

    /// What is made of the versions of a model besides the active one; nothing of an unknown model.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the record is damaged.
    pub fn model_serving(&self, id: &ModelId) -> Result<ModelServing, StoreError> {
        self.registry.serving(id)
    }

    /// Makes a registered version the active one, if one is named, and keeps what is made of the
    /// others; both or neither, and synced.
    ///
    /// # Errors
    /// [`StoreError::ModelUnknown`] if the version is not registered.
    pub fn serve_model(
        &self,
        id: &ModelId,
        active: Option<ModelVersion>,
        serving: &ModelServing,
    ) -> Result<(), StoreError> {
        self.registry.serve(id, active, serving)
    }

    /// Removes a version that is not active, syncs, and gives back its entry. Its file stays.
    ///
    /// # Errors
    /// [`StoreError::ModelUnknown`] or [`StoreError::ModelActive`].
    pub fn remove_model(
        &self,
        id: &ModelId,
        version: ModelVersion,
    ) -> Result<ModelEntry, StoreError> {
        self.registry.remove(id, version)
    }

    /// Every record of a federation whose name begins so, by name.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if one is damaged.
    pub fn federation_records(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.registry.records(Shelf::Federation, prefix)
    }

    /// Puts records of a federation, or removes those without bytes; all or none, and synced.
    ///
    /// # Errors
    /// [`StoreError::RecordTooLarge`].
    pub fn change_federation(
        &self,
        changes: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), StoreError> {
        self.registry.change_records(Shelf::Federation, changes)
    }

    /// Every record of access whose name begins so, by name.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if one is damaged.
    pub fn access_records(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.registry.records(Shelf::Access, prefix)
    }

    /// Puts records of access, or removes those without bytes; all or none, and synced.
    ///
    /// # Errors
    /// [`StoreError::RecordTooLarge`].
    pub fn change_access(&self, changes: &[(String, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        self.registry.change_records(Shelf::Access, changes)
    }

    /// Every record of trainings, by name.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if one is damaged.
    pub fn training_records(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.registry.records(Shelf::Training, "")
    }

    /// Puts records of trainings, or removes those without bytes; all or none, and synced.
    ///
    /// # Errors
    /// [`StoreError::RecordTooLarge`].
    pub fn change_trainings(
        &self,
        changes: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), StoreError> {
        self.registry.change_records(Shelf::Training, changes)
    }

    /// Compares the registered models with all their indexes, both ways.
    pub fn verify_models(&self) -> Result<Vec<Disagreement>, StoreError> {
        self.registry.verify()
    }

    /// Makes the indexes of the models again from the rows. Gives back how many entries they have.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a row cannot be read; nothing changes then.
    pub fn reindex_models(&self) -> Result<u64, StoreError> {
        self.registry.reindex()
    }

    /// Adds rows at the end of a data set, which is made if need be, and syncs. All of them or
    /// none. Gives back the id of the first; the others follow one by one.
    ///
    /// # Errors
    /// [`StoreError::DatasetRow`] with the number of the first row that is not acceptable.
    pub fn append_training(
        &self,
        name: &DatasetName,
        rows: &[TrainingRow],
    ) -> Result<u64, StoreError> {
        self.datasets.append(name, rows)
    }

    /// The rows of a data set from an id on, of those made at `created_since_us` or later if it is
    /// given, as they are now whatever is appended meanwhile.
    ///
    /// # Errors
    /// [`StoreError::DatasetUnknown`]. The scan itself ends with an error if a block is damaged.
    pub fn scan_training(
        &self,
        name: &DatasetName,
        from_id: u64,
        created_since_us: Option<i64>,
    ) -> Result<DatasetScan, StoreError> {
        self.datasets.scan(name, from_id, created_since_us)
    }

    /// All data sets and what they add up to, by name.
    pub fn datasets(&self) -> Result<Vec<DatasetInfo>, StoreError> {
        self.datasets.all()
    }

    /// Removes a data set, syncs, and gives back what it was.
    ///
    /// # Errors
    /// [`StoreError::DatasetUnknown`].
    pub fn remove_dataset(&self, name: &DatasetName) -> Result<DatasetInfo, StoreError> {
        self.datasets.remove(name)
    }

    /// Reads a whole data set and compares its blocks, extents and totals.
    ///
    /// # Errors
    /// [`StoreError::DatasetUnknown`].
    pub fn verify_dataset(&self, name: &DatasetName) -> Result<Vec<Disagreement>, StoreError> {
        self.datasets.verify(name)
    }

    /// Keeps runs of decisions of plugins, each with the plugin's name, syncs them, and removes the
    /// oldest beyond `runs_max` of each plugin. Writes on the caller's thread.
    ///
    /// # Errors
    /// If the disk refused them; none is kept then.
    pub fn keep_decisions(
        &self,
        runs: &[(String, Vec<u8>)],
        runs_max: u64,
    ) -> Result<(), StoreError> {
        self.decisions.append(runs, runs_max)
    }

    /// The newest kept runs of a plugin, at most `limit`, the oldest of them first.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if one of them is damaged.
    pub fn decisions(&self, plugin: &str, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.decisions.newest(plugin, limit)
    }
}
