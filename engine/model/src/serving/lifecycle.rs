//! Owns what an operator does with versions: load, switch, try out, take out.
//!
//! Refuses to know requests. Bound: a load takes as long as the model takes to build and holds up
//! neither workers nor other loads; everything else is a change of one map.

use std::sync::Arc;

use truststram_base::{ModelId, ModelVersion};

use super::engine::Engine;
use super::info::ModelInfo;
use super::loaded::{Limits, LoadedModel, Parts};
use super::loader::{self, BuiltModel, SharedBytes};
use super::options::LoadOptions;
use crate::error::ModelError;

impl<T: Send + 'static> Engine<T> {
    /// Loads a version: builds it on every NUMA node that has workers, runs it once, and makes it
    /// the active one if asked to. Requests keep running meanwhile, and other loads, too. Blocks
    /// until it is ready, so call it on no network thread.
    ///
    /// # Errors
    /// What is wrong with the file, or that the version, or the memory for it, cannot be. The
    /// active version stays the active one then, and the failure is in [`Engine::models`].
    pub fn load<B: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        id: &ModelId,
        version: ModelVersion,
        bytes: Arc<B>,
        options: &LoadOptions,
    ) -> Result<Arc<LoadedModel>, ModelError> {
        options.validate()?;
        let bytes: SharedBytes = bytes;
        let nodes = &self.crew.nodes;
        let status = {
            let change = self.registry.change();
            let status = change.admit(id, version)?;
            // The file is about as large as what is made of it on each node.
            let wanted = ((*bytes).as_ref().len() as u64).saturating_mul(nodes.len() as u64);
            change.make_room(wanted).inspect_err(|error| status.fail(&error.to_string()))?;
            status
        };
        let built = loader::build(nodes, &bytes, options.format, options.validation_ms);
        let built = built.and_then(|built| self.register(id, version, built, &status, options));
        built.inspect_err(|error| status.fail(&error.to_string()))
    }

    fn register(
        &self,
        id: &ModelId,
        version: ModelVersion,
        built: BuiltModel,
        status: &Arc<super::loaded::Status>,
        options: &LoadOptions,
    ) -> Result<Arc<LoadedModel>, ModelError> {
        let BuiltModel { signature, dense, tokenizer, summary, programs, memory } = built;
        let limits = Limits {
            batch_max: match signature.batchable {
                true => options.batch_max.unwrap_or(self.batch_max),
                false => 1,
            },
            tokens_max: options.tokens_max,
            requests_max: options.requests_max.unwrap_or(usize::MAX >> 1),
        };
        let change = self.registry.change();
        change.make_room(memory.bytes())?;
        let resident = self.registry.residents().enter(memory.bytes(), Arc::clone(status));
        let model = Arc::new(LoadedModel::new(Parts {
            id: id.clone(),
            version,
            signature,
            dense,
            tokenizer,
            summary,
            limits,
            keep_warm: options.keep_warm,
            programs,
            memory,
            worker_count: self.crew.posts.len(),
            resident,
        }));
        model.used(self.clock.monotonic_us());
        change.insert(&model, options.activate);
        Ok(model)
    }

    /// Forgets a version that is not loaded: why it could not be, or that it once was.
    pub fn forget(&self, id: &ModelId, version: ModelVersion) {
        self.registry.change().forget(id, version);
    }

    /// Makes another loaded version the active one, at once and for all questions after this.
    ///
    /// # Errors
    /// [`ModelError::NotLoaded`] or [`ModelError::Evicted`].
    pub fn activate(&self, id: &ModelId, version: ModelVersion) -> Result<(), ModelError> {
        self.registry.change().activate(id, version)
    }

    /// Makes the version active again that was so before, and returns it; once more undoes that.
    ///
    /// # Errors
    /// [`ModelError::NoPrevious`], or [`ModelError::Evicted`] if it had to make room.
    pub fn roll_back(&self, id: &ModelId) -> Result<ModelVersion, ModelError> {
        self.registry.change().roll_back(id)
    }

    /// Gives a version a share, in percent, of the questions that name no version: of 100 in a row
    /// exactly as many, and a user always the same version. None ends that.
    ///
    /// # Errors
    /// [`ModelError::Options`] for a share of 0 or above 100, [`ModelError::NotLoaded`],
    /// [`ModelError::Evicted`].
    pub fn set_canary(
        &self,
        id: &ModelId,
        canary: Option<(ModelVersion, u8)>,
    ) -> Result<(), ModelError> {
        self.registry.change().set_canary(id, canary)
    }

    /// Has a version asked whatever the active one has answered, and counts where they differ.
    /// That happens after the answer and only while no request waits. None ends it.
    ///
    /// # Errors
    /// [`ModelError::Validation`] if the answers cannot be compared, [`ModelError::NotLoaded`],
    /// [`ModelError::Evicted`].
    pub fn set_shadow(
        &self,
        id: &ModelId,
        version: Option<ModelVersion>,
    ) -> Result<(), ModelError> {
        self.registry.change().set_shadow(id, version)
    }

    /// Says whether a version stays in memory however long nobody asks for it.
    ///
    /// # Errors
    /// [`ModelError::NotLoaded`] or [`ModelError::Evicted`].
    pub fn set_keep_warm(
        &self,
        id: &ModelId,
        version: ModelVersion,
        keep_warm: bool,
    ) -> Result<(), ModelError> {
        self.registry.route(id, Some(version), None)?.set_kept_warm(keep_warm);
        Ok(())
    }

    /// Takes a version out. It answers what was accepted; its memory is freed with the last
    /// handle, and its state is `retired` then.
    ///
    /// # Errors
    /// [`ModelError::NotLoaded`], or [`ModelError::Active`] while other versions of it are loaded.
    pub fn retire(&self, id: &ModelId, version: ModelVersion) -> Result<(), ModelError> {
        self.registry.change().retire(id, version)
    }

    /// A loaded version, or the active one if none is named. Takes no lock.
    pub fn model(&self, id: &ModelId, version: Option<ModelVersion>) -> Option<Arc<LoadedModel>> {
        self.registry.find(id, version)
    }

    /// Who answers a question: the version that it names, or the canary for its share, or the
    /// active version. Takes no lock.
    ///
    /// # Errors
    /// [`ModelError::NotLoaded`] (with version 0 where none was named and none is active), or
    /// [`ModelError::Evicted`]: load it again and ask again.
    pub fn route(
        &self,
        id: &ModelId,
        version: Option<ModelVersion>,
        user: Option<&str>,
    ) -> Result<Arc<LoadedModel>, ModelError> {
        self.registry.route(id, version, user)
    }

    /// Every version that is or was there, ordered by id and version.
    pub fn models(&self) -> Vec<ModelInfo> {
        self.registry.list()
    }

    /// Bytes of all versions that are in memory, with the buffers that workers have made for them.
    pub fn memory_bytes(&self) -> u64 {
        self.registry.residents().bytes()
    }
}
