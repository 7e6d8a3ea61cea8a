//! Owns the joint of the API's models and the engine: what is loaded, described.
//!
//! Refuses to load and unload: every registered model is loaded at the start and stays. Bound: the
//! reader's queue.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};
use truststram_api::ports::{
    Datatype, Failure, IndexEntry, ModelFailure, ModelFigures, ModelMetadata, Models, Records,
    ServingState, TensorMetadata,
};
use truststram_base::{Kind, ModelId, ModelVersion};
use truststram_model::LoadedModel;
use truststram_model::artifact::SignaturePort;
use truststram_model::tensor::DType;

use super::infer::EngineInfer;

/// The models of the engine as the API sees them.
pub struct EngineModels {
    /// What finds them.
    pub infer: Arc<EngineInfer>,
    /// What is registered.
    pub records: Arc<dyn Records>,
}

type Answered<T> = BoxFuture<'static, Result<T, ModelFailure>>;

/// What the engine cannot do.
pub fn unsupported(detail: &str) -> ModelFailure {
    ModelFailure { kind: Kind::Invalid, detail: format!("not supported: {detail}") }
}

/// An input or output as the protocol shows it.
pub fn tensor(port: &SignaturePort) -> TensorMetadata {
    let datatype = match port.dtype {
        DType::F32 => Datatype::Fp32,
        DType::F64 => Datatype::Fp64,
        DType::F16 => Datatype::Fp16,
        DType::Bf16 => Datatype::Bf16,
        DType::I8 => Datatype::Int8,
        DType::I16 => Datatype::Int16,
        DType::I32 => Datatype::Int32,
        DType::I64 => Datatype::Int64,
        DType::U8 => Datatype::Uint8,
        DType::U16 => Datatype::Uint16,
        DType::U32 => Datatype::Uint32,
        DType::U64 => Datatype::Uint64,
        DType::Bool => Datatype::Bool,
        DType::String => Datatype::Bytes,
    };
    TensorMetadata { name: port.name.clone(), datatype, shape: port.dims.clone() }
}

impl EngineModels {
    fn find(
        &self,
        model: &ModelId,
        version: Option<ModelVersion>,
    ) -> Result<Arc<LoadedModel>, Failure> {
        self.infer.find(model, version)
    }
}

impl Models for EngineModels {
    fn ready(&self, model: ModelId, version: Option<ModelVersion>) -> Answered<bool> {
        ready(self.find(&model, version).map(|_| true).map_err(Into::into)).boxed()
    }

    fn metadata(&self, model: ModelId, version: Option<ModelVersion>) -> Answered<ModelMetadata> {
        let versions = self.infer.engine.models();
        let versions = versions.iter().filter(|one| one.id == model);
        let versions = match version {
            None => versions.map(|one| one.version).collect(),
            Some(version) => vec![version],
        };
        let found = self.find(&model, version).map(|loaded| ModelMetadata {
            model,
            versions,
            platform: match loaded.dense() {
                Some(_) => "truststram_dense".to_owned(),
                None => "truststram_graph".to_owned(),
            },
            inputs: loaded.signature().inputs.iter().map(tensor).collect(),
            outputs: loaded.signature().outputs.iter().map(tensor).collect(),
        });
        ready(found.map_err(Into::into)).boxed()
    }

    fn statistics(
        &self,
        model: Option<ModelId>,
        version: Option<ModelVersion>,
    ) -> Answered<Vec<ModelFigures>> {
        let known = model.map_or(Ok(()), |model| self.find(&model, version).map(|_| ()));
        let told = known.map_err(ModelFailure::from).and_then(|()| {
            Err(unsupported("figures are kept by worker and not by model; see /metrics"))
        });
        ready(told).boxed()
    }

    fn index(&self) -> Answered<Vec<IndexEntry>> {
        let engine = self.infer.engine.clone();
        let listed = self.records.models().map(move |entries| {
            let mut entries = entries?;
            entries.sort_by(|a, b| (&a.id, a.version).cmp(&(&b.id, b.version)));
            let entry = entries.into_iter().map(|entry| {
                let is_loaded = engine.model(&entry.id, Some(entry.version)).is_some();
                let state = if is_loaded { ServingState::Ready } else { ServingState::Unavailable };
                let (model, version) = (entry.id, entry.version);
                IndexEntry { model, version, state, reason: String::new() }
            });
            Ok(entry.collect())
        });
        listed.boxed()
    }

    fn load(&self, model: ModelId) -> Answered<()> {
        // What is registered is loaded already.
        ready(self.find(&model, None).map(|_| ()).map_err(Into::into)).boxed()
    }

    fn unload(&self, model: ModelId) -> Answered<()> {
        let known = self.find(&model, None).map_err(ModelFailure::from);
        ready(known.and_then(|_| Err(unsupported("a model stays loaded")))).boxed()
    }
}
