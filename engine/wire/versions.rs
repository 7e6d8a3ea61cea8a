//! Owns the joint of the API's registry and what is registered: versions shown.
//!
//! Refuses to change them: models are registered by training. Bound: the reader's queue.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt, ready};
use truststram_api::ports::{
    ArtifactFormat, Failure, ModelFailure, NewVersion, Records, Registry, VersionChange,
    VersionDetail, VersionState,
};
use truststram_base::{ModelEntry, ModelId, ModelVersion};
use truststram_model::LoadedModel;
use truststram_model::artifact::{Signature, SignaturePort};

use super::infer::EngineInfer;
use super::serving::{tensor, unsupported};

/// The registry as the API sees it.
pub struct StoreRegistry {
    /// What finds loaded models.
    pub infer: Arc<EngineInfer>,
    /// What is registered.
    pub records: Arc<dyn Records>,
}

type Answered<T> = BoxFuture<'static, Result<T, ModelFailure>>;

/// The change that is not made.
fn unchanged() -> Answered<VersionDetail> {
    ready(Err(unsupported("models are registered and activated by training"))).boxed()
}

fn detail(entry: ModelEntry, loaded: Option<&LoadedModel>) -> VersionDetail {
    let state = match (loaded, entry.active) {
        (None, _) => VersionState::Registered,
        (Some(_), true) => VersionState::Active,
        (Some(_), false) => VersionState::Ready,
    };
    let dense = loaded.and_then(LoadedModel::dense);
    let layers = dense.map_or(&[][..], |dense| &dense.layers);
    let weights = |pair: &[u32]| match pair {
        &[from, to] => (u64::from(from) + 1) * u64::from(to),
        _ => 0,
    };
    let ports = |of: &dyn Fn(&Signature) -> &Vec<SignaturePort>| {
        let ports = loaded.map(|loaded| of(loaded.signature()).iter().map(tensor).collect());
        ports.unwrap_or_default()
    };
    VersionDetail {
        state,
        reason: None,
        format: ArtifactFormat::Safetensors,
        inputs: ports(&|signature| &signature.inputs),
        outputs: ports(&|signature| &signature.outputs),
        feature_names: Vec::new(),
        parameter_count: layers.windows(2).map(weights).sum(),
        operators: vec![("Dense".to_owned(), layers.len().saturating_sub(1) as u64)],
        entry,
    }
}

impl Registry for StoreRegistry {
    fn version(&self, model: ModelId, version: ModelVersion) -> Answered<VersionDetail> {
        let engine = self.infer.engine.clone();
        let shown = self.records.models().map(move |entries| {
            let mut of_model = entries?.into_iter().filter(|entry| entry.id == model).peekable();
            let is_known = of_model.peek().is_some();
            match of_model.find(|entry| entry.version == version) {
                Some(entry) => {
                    let loaded = engine.model(&model, Some(version));
                    Ok(detail(entry, loaded.as_deref()))
                }
                None if is_known => Err(Failure::UnknownVersion(model, version).into()),
                None => Err(Failure::UnknownModel(model).into()),
            }
        });
        shown.boxed()
    }

    fn add(&self, new: NewVersion) -> Answered<VersionDetail> {
        // A client that is still sending would not see the answer.
        new.chunks.for_each(|_chunk| ready(())).then(|()| unchanged()).boxed()
    }

    fn change(
        &self,
        _model: ModelId,
        _version: ModelVersion,
        _change: VersionChange,
    ) -> Answered<VersionDetail> {
        unchanged()
    }

    fn roll_back(&self, _model: ModelId) -> Answered<VersionDetail> {
        unchanged()
    }

    fn remove(&self, _model: ModelId, _version: ModelVersion) -> Answered<VersionDetail> {
        unchanged()
    }
}
