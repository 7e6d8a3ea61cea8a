//! Owns the joint of the API's models and the engine: what serves is described, loaded, unloaded.
//!
//! Refuses to know files. Bound: the reader's queue and that of the thread that loads.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};
use truststram_api::ports::{
    BatchFigures, Datatype, Failure, IndexEntry, ModelFailure, ModelFigures, ModelMetadata, Models,
    ServingState, TensorMetadata, Took,
};
use truststram_base::{Clock, ModelEntry, ModelId, ModelVersion};
use truststram_model::artifact::{Signature, SignaturePort};
use truststram_model::{Engine, LoadedModel, ModelInfo, ModelState};

use super::background::Background;
use super::convert::datatype;
use super::infer::EngineInfer;
use super::sink::Ticket;
use super::tensors::TEXT_INPUT;
use crate::registry::{RegistryError, Versions};

/// The models of the engine as the API sees them.
pub struct EngineModels {
    /// What finds them.
    pub infer: Arc<EngineInfer>,
    /// What loads them.
    pub versions: Arc<Versions<Ticket>>,
    /// The thread that does it.
    pub loader: Arc<Background>,
    /// The thread that reads the store.
    pub reader: Arc<Background>,
}

type Answered<T> = BoxFuture<'static, Result<T, ModelFailure>>;

/// An input or output as the protocol shows it.
fn tensor(port: &SignaturePort) -> TensorMetadata {
    let datatype = datatype(port.dtype);
    TensorMetadata { name: port.name.clone(), datatype, shape: port.dims.clone() }
}

/// What callers give: of a model that reads texts those, not their tokens.
pub fn inputs(signature: &Signature) -> Vec<TensorMetadata> {
    if signature.tokens.is_some() {
        let (name, datatype) = (TEXT_INPUT.to_owned(), Datatype::Bytes);
        return vec![TensorMetadata { name, datatype, shape: vec![-1] }];
    }
    signature.inputs.iter().map(tensor).collect()
}

/// What callers get.
pub fn outputs(signature: &Signature) -> Vec<TensorMetadata> {
    signature.outputs.iter().map(tensor).collect()
}

fn platform(loaded: &LoadedModel) -> &'static str {
    match (loaded.dense(), loaded.signature().tokens) {
        (Some(_), _) => "truststram_dense",
        (None, Some(_)) => "truststram_encoder",
        (None, None) => "truststram_graph",
    }
}

/// What a version did, as the protocol counts it.
fn figures(loaded: &LoadedModel, clock: &dyn Clock) -> ModelFigures {
    let took = |took: truststram_model::Took| Took { count: took.count, ns: took.us * 1_000 };
    let figures = loaded.figures();
    let (done, stages) = (figures.done, figures.stages);
    // The engine's clock counts from an origin of its own.
    let age_us = clock.monotonic_us().saturating_sub(loaded.last_used_us());
    let last_us = clock.utc_us().saturating_sub(i64::try_from(age_us).unwrap_or(i64::MAX));
    let was_asked = done.success.count + done.fail.count > 0;
    let batch = |(rows, stages): (&u32, &truststram_model::Stages)| BatchFigures {
        batch_size: (*rows).into(),
        compute_input: took(stages.input),
        compute_infer: took(stages.infer),
        compute_output: took(stages.output),
    };
    ModelFigures {
        model: loaded.id().clone(),
        version: loaded.version(),
        last_inference_ms: if was_asked { u64::try_from(last_us / 1_000).unwrap_or(0) } else { 0 },
        inference_count: done.rows,
        execution_count: stages.infer.count,
        success: took(done.success),
        fail: took(done.fail),
        queue: took(done.queue),
        compute_input: took(stages.input),
        compute_infer: took(stages.infer),
        compute_output: took(stages.output),
        cache_hit: Took::default(),
        cache_miss: Took::default(),
        batches: figures.by_rows.iter().map(batch).collect(),
    }
}

/// One registered version and what the engine knows of it.
fn index_entry(entry: ModelEntry, info: Option<&ModelInfo>, failure: Option<String>) -> IndexEntry {
    let (state, reason) = match (info.map(|info| info.state), failure) {
        (Some(ModelState::Ready | ModelState::Active), _) => (ServingState::Ready, String::new()),
        (Some(ModelState::Loading), _) => (ServingState::Loading, String::new()),
        (_, Some(failure)) => (ServingState::Unavailable, failure),
        (Some(ModelState::Draining), None) => (ServingState::Unloading, String::new()),
        _ => (ServingState::Unavailable, "not loaded".to_owned()),
    };
    IndexEntry { model: entry.id, version: entry.version, state, reason }
}

impl EngineModels {
    fn engine(&self) -> &Engine<Ticket> {
        &self.infer.engine
    }

    /// Changes models on the thread that owns the versions.
    fn done(
        &self,
        change: impl FnOnce(&Versions<Ticket>) -> Result<(), RegistryError> + Send + 'static,
    ) -> Answered<()> {
        let versions = self.versions.clone();
        self.loader.run(move || change(&versions)).map(|done| Ok(done??)).boxed()
    }
}

impl Models for EngineModels {
    fn ready(&self, model: ModelId, version: Option<ModelVersion>) -> Answered<bool> {
        let found = match self.infer.find(&model, version) {
            Ok(_) => Ok(true),
            Err(Failure::NotReady { .. }) => Ok(false),
            Err(failure) => Err(failure.into()),
        };
        ready(found).boxed()
    }

    fn metadata(&self, model: ModelId, version: Option<ModelVersion>) -> Answered<ModelMetadata> {
        let found = self.infer.find(&model, version).map(|loaded| {
            let versions = match version {
                Some(version) => vec![version],
                None => {
                    let serves = |info: &ModelInfo| {
                        let serves = matches!(info.state, ModelState::Ready | ModelState::Active);
                        info.id == model && serves
                    };
                    let infos = self.engine().models().into_iter().filter(serves);
                    infos.map(|info| info.version).collect()
                }
            };
            ModelMetadata {
                versions,
                platform: platform(&loaded).to_owned(),
                inputs: inputs(loaded.signature()),
                outputs: outputs(loaded.signature()),
                model,
            }
        });
        ready(found.map_err(Into::into)).boxed()
    }

    fn statistics(
        &self,
        model: Option<ModelId>,
        version: Option<ModelVersion>,
    ) -> Answered<Vec<ModelFigures>> {
        let known =
            model.as_ref().map_or(Ok(()), |model| self.infer.find(model, version).map(drop));
        let is_asked = |info: &ModelInfo| {
            model.as_ref().is_none_or(|model| info.id == *model)
                && version.is_none_or(|version| info.version == version)
        };
        let told = known.map(|()| {
            let infos = self.engine().models().into_iter().filter(is_asked);
            let loaded = infos.filter_map(|info| self.engine().model(&info.id, Some(info.version)));
            loaded.map(|loaded| figures(&loaded, self.infer.clock.as_ref())).collect()
        });
        ready(told.map_err(ModelFailure::from)).boxed()
    }

    fn index(&self) -> Answered<Vec<IndexEntry>> {
        let versions = self.versions.clone();
        let listed = self.reader.run(move || {
            let mut entries = versions.store.models()?;
            entries.sort_by(|a, b| (&a.id, a.version).cmp(&(&b.id, b.version)));
            let infos = versions.engine.models();
            let entry = entries.into_iter().map(|entry| {
                let of_entry =
                    |info: &&ModelInfo| info.id == entry.id && info.version == entry.version;
                let info = infos.iter().find(of_entry);
                let failure = versions.failure(&entry.id, entry.version);
                index_entry(entry, info, failure)
            });
            Ok::<_, RegistryError>(entry.collect())
        });
        listed.map(|entries| Ok(entries??)).boxed()
    }

    fn load(&self, model: ModelId) -> Answered<()> {
        self.done(move |versions| versions.load_model(&model))
    }

    fn unload(&self, model: ModelId) -> Answered<()> {
        self.done(move |versions| versions.unload_model(&model))
    }
}
