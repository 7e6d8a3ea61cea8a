//! Ports of inference and of the registry that remember what they were asked.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::FutureExt;
use truststram_base::{Kind, ModelId, ModelVersion};

use super::fakes::{Answered, Fake, done, entry, id};
use crate::ports::*;

/// What the model `broken` fails with, and what every unknown model fails with.
fn known(model: &ModelId) -> Result<(), Failure> {
    match model.as_str() {
        "full" => Err(Failure::QueueFull("inference")),
        "texts" => {
            let reason = "it takes no tensors".to_owned();
            Err(Failure::Unsupported { model: model.clone(), reason })
        }
        "none" => Err(Failure::UnknownModel(model.clone())),
        _ => Ok(()),
    }
}

fn metadata(name: &str) -> TensorMetadata {
    TensorMetadata { name: name.to_owned(), datatype: Datatype::Fp32, shape: vec![-1, 2] }
}

impl Tensors for Fake {
    /// Gives back what it is given; where outputs are named, under their names.
    fn infer(&self, ask: TensorAsk) -> Answered<TensorAnswer, Failure> {
        self.note(&ask);
        if let Err(failure) = known(&ask.model) {
            return done(Err(failure));
        }
        let mut outputs = ask.inputs;
        if !ask.outputs.is_empty() {
            let all = outputs.clone();
            let of_name = |name: &String| all.iter().find(|tensor| tensor.name == *name).cloned();
            let found: Option<Vec<WireTensor>> = ask.outputs.iter().map(of_name).collect();
            let Some(found) = found else {
                let (place, reason) = ("outputs".to_owned(), "name no output".to_owned());
                return done(Err(Failure::Input { place, reason }));
            };
            outputs = found;
        }
        let classes = vec!["no".to_owned(), "yes".to_owned()];
        let version = ask.version.unwrap_or(ModelVersion(2));
        done(Ok(TensorAnswer { version, outputs, classes, queue_us: 1, compute_us: 2 }))
    }

    /// The vector of an input is its length and 1.
    fn embed(&self, ask: EmbedAsk) -> Answered<EmbedAnswer, Failure> {
        self.note(&ask);
        if let Err(failure) = known(&ask.model) {
            return done(Err(failure));
        }
        let lengths: Vec<usize> = match &ask.inputs {
            EmbedInputs::Texts(texts) => texts.iter().map(String::len).collect(),
            EmbedInputs::Tokens(lists) => lists.iter().map(Vec::len).collect(),
        };
        let vectors = lengths.iter().map(|&length| vec![length as f32, 1.0]).collect();
        let token_counts = lengths.iter().map(|&length| length as u32).collect();
        done(Ok(EmbedAnswer { version: ModelVersion(1), vectors, token_counts }))
    }

    /// Dot products, which is enough to tell places apart.
    fn similarity(&self, ask: SimilarityAsk) -> Answered<Vec<f32>, Failure> {
        self.note(&ask);
        let (a, d) = (&ask.rows_a, ask.dimension);
        let b = ask.rows_b.as_ref().unwrap_or(a);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum();
        let rows = a.chunks(d);
        done(Ok(rows.flat_map(|row| b.chunks(d).map(move |other| dot(row, other))).collect()))
    }
}

impl Models for Fake {
    fn ready(&self, model: ModelId, version: Option<ModelVersion>) -> Answered<bool, ModelFailure> {
        self.note((&model, version));
        done(known(&model).map(|()| model.as_str() != "late").map_err(Into::into))
    }

    fn metadata(
        &self,
        model: ModelId,
        version: Option<ModelVersion>,
    ) -> Answered<ModelMetadata, ModelFailure> {
        let versions = version.map_or(vec![ModelVersion(1), ModelVersion(2)], |one| vec![one]);
        let (platform, inputs) = ("truststram_dense".to_owned(), vec![metadata("x")]);
        let outputs = vec![metadata("y")];
        let found = known(&model).map_err(ModelFailure::from);
        done(found.map(|()| ModelMetadata { model, versions, platform, inputs, outputs }))
    }

    fn statistics(
        &self,
        model: Option<ModelId>,
        version: Option<ModelVersion>,
    ) -> Answered<Vec<ModelFigures>, ModelFailure> {
        self.note((&model, version));
        let took = |count| Took { count, ns: count * 10 };
        let batch = BatchFigures { batch_size: 4, compute_infer: took(5), ..Default::default() };
        done(Ok(vec![ModelFigures {
            model: model.unwrap_or_else(|| id("a")),
            version: version.unwrap_or(ModelVersion(1)),
            last_inference_ms: 7,
            inference_count: 20,
            execution_count: 5,
            success: took(20),
            fail: took(1),
            queue: took(20),
            compute_input: took(5),
            compute_infer: took(5),
            compute_output: took(5),
            cache_hit: took(0),
            cache_miss: took(0),
            batches: vec![batch],
        }]))
    }

    fn index(&self) -> Answered<Vec<IndexEntry>, ModelFailure> {
        let one = |version, state, reason: &str| IndexEntry {
            model: id("a"),
            version: ModelVersion(version),
            state,
            reason: reason.to_owned(),
        };
        let ready = one(1, ServingState::Ready, "");
        done(Ok(vec![ready, one(2, ServingState::Unavailable, "retired")]))
    }

    fn load(&self, model: ModelId) -> Answered<(), ModelFailure> {
        self.note(("load", &model));
        done(known(&model).map_err(Into::into))
    }

    fn unload(&self, model: ModelId) -> Answered<(), ModelFailure> {
        self.note(("unload", &model));
        done(known(&model).map_err(Into::into))
    }
}

fn detail(model: &ModelId, version: ModelVersion, state: VersionState) -> VersionDetail {
    VersionDetail {
        entry: entry(model.as_str(), version.0, state == VersionState::Active),
        state,
        reason: None,
        format: ArtifactFormat::Onnx,
        inputs: vec![metadata("x")],
        outputs: vec![metadata("y")],
        feature_names: vec!["age".to_owned()],
        parameter_count: 6,
        operators: vec![("MatMul".to_owned(), 2)],
        serving: Serving::default(),
    }
}

fn conflict(detail: &str) -> ModelFailure {
    ModelFailure { kind: Kind::Conflict, detail: detail.to_owned() }
}

impl Registry for Fake {
    fn version(
        &self,
        model: ModelId,
        version: ModelVersion,
    ) -> Answered<VersionDetail, ModelFailure> {
        if version > ModelVersion(4) {
            return done(Err(Failure::UnknownVersion(model, version).into()));
        }
        let mut found = detail(&model, version, VersionState::Ready);
        if model.as_str() == "served" {
            found.state = VersionState::Shadow;
            found.serving = Serving {
                memory_bytes: Some(4_096),
                canary_percent: Some(7),
                shadow: Some(ShadowFigures { rows: 9, disagreed: 2, dropped: 3, failed: 1 }),
                keep_warm: true,
                is_previous: true,
                validation: Some(serde_json::json!({ "runs": 3 })),
                optimisation: Some(serde_json::json!({ "folded": 4 })),
            };
        }
        done(Ok(found))
    }

    /// Reads everything; version 8 is registered meanwhile.
    fn add(&self, new: NewVersion) -> Answered<VersionDetail, ModelFailure> {
        self.note((&new.model, new.version, &new.owner, &new.name, &new.tags));
        self.note((&new.metadata_json, new.activate, new.format, new.sha256, new.bytes));
        self.note(("keep warm", new.keep_warm));
        if new.version == Some(ModelVersion(8)) {
            return done(Err(conflict("there is such a version")));
        }
        let (model, version) = (new.model, new.version.unwrap_or(ModelVersion(3)));
        let chunks: futures_util::future::BoxFuture<'static, Vec<Result<Bytes, ModelFailure>>> =
            new.chunks.collect().boxed();
        let asked = self.asked.clone();
        let added = chunks.map(move |chunks| {
            let whole: Result<Vec<Bytes>, ModelFailure> = chunks.into_iter().collect();
            let bytes: usize = whole?.iter().map(Bytes::len).sum();
            asked.lock().unwrap().push(format!("{bytes} bytes"));
            Ok(detail(&model, version, VersionState::Ready))
        });
        added.boxed()
    }

    fn change(
        &self,
        model: ModelId,
        version: ModelVersion,
        change: VersionChange,
    ) -> Answered<VersionDetail, ModelFailure> {
        self.note((&model, version, change));
        let state = match change {
            VersionChange::Activate => VersionState::Active,
            VersionChange::Canary(percent) => VersionState::Canary(percent),
            VersionChange::Shadow => VersionState::Shadow,
            VersionChange::Retire => return done(Err(conflict("it is the active version"))),
        };
        done(Ok(detail(&model, version, state)))
    }

    fn roll_back(&self, model: ModelId) -> Answered<VersionDetail, ModelFailure> {
        self.note(("roll back", &model));
        done(Ok(detail(&model, ModelVersion(1), VersionState::Active)))
    }

    fn remove(
        &self,
        model: ModelId,
        version: ModelVersion,
    ) -> Answered<VersionDetail, ModelFailure> {
        self.note(("remove", &model, version));
        done(Ok(detail(&model, version, VersionState::Retired)))
    }
}
