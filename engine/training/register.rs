//! Owns the way of a trained model into the registry: checked and loaded like any that is uploaded.
//!
//! A version says in its metadata which job made it, so that one that was registered before a kill
//! is not registered again. Refuses to judge. Bound: one model in memory.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use truststram_api::ports::{ModelFailure, TrainingResult};
use truststram_model::artifact::Format;
use truststram_train::Outcome;

use super::job::{Asked, Job};
use super::jobs::Jobs;
use crate::registry::Described;
use crate::registry::incoming::Arrived;

/// What a job has made already, if it was killed between the registration and its end.
pub(super) fn made(jobs: &Jobs, job: &Job, asked: &Asked) -> Option<TrainingResult> {
    let entries = jobs.means.store.model_versions(&asked.model).ok()?;
    entries.iter().find_map(|entry| {
        let metadata: Value = serde_json::from_str(&entry.metadata_json).ok()?;
        let training = &metadata["training"];
        let is_own = training["job"] == job.id && training["created_us"] == job.created_us;
        let mut figures = training["result"].as_object().filter(|_| is_own)?.clone();
        figures.insert("version".to_owned(), json!(entry.version.0));
        serde_json::from_value(Value::Object(figures)).ok()
    })
}

/// Registers a model on the thread that owns versions, and waits for it. A queue that is full is
/// waited for, and so is a full disk; none where the job is to end.
pub(super) fn register(
    jobs: &Jobs,
    job: &Job,
    asked: &Asked,
    outcome: &Outcome,
    stop: &AtomicBool,
) -> Result<Option<TrainingResult>, String> {
    let bytes = outcome.model.to_bytes().map_err(|error| error.to_string())?;
    let mut result = TrainingResult {
        version: 0,
        steps: outcome.steps,
        train_loss: outcome.train_loss,
        accuracy: outcome.held_out.accuracy,
        mean_square: outcome.held_out.mean_square,
    };
    let mut figures = json!(result);
    // The registry gives the number.
    figures.as_object_mut().map(|figures| figures.remove("version"));
    let training = json!({
        "job": job.id,
        "created_us": job.created_us,
        "dataset": asked.dataset.to_string(),
        "rows": job.rows,
        "seed": asked.spec.train.seed,
        "base": asked.spec.base,
        "result": figures,
    });
    let described = Described {
        id: asked.model.clone(),
        version: None,
        owner: None,
        name: Some(asked.model.to_string()),
        tags: vec!["trained".to_owned()],
        metadata_json: json!({ "training": training }).to_string(),
        format: Format::Safetensors,
        activate: asked.spec.activate,
        keep_warm: false,
        sha256: None,
        bytes: None,
    };
    loop {
        let (versions, described, bytes) =
            (jobs.means.versions.clone(), described.clone(), bytes.clone());
        let entered = jobs.means.models.call(move || {
            let arrived = Arrived::of(&versions.data_dir, &bytes)?;
            versions.register(&arrived, described)
        });
        let failure: ModelFailure = match entered {
            Ok(Ok(entry)) => {
                result.version = entry.version.0;
                return Ok(Some(result));
            }
            Ok(Err(error)) if !error.kind().is_retryable() => return Err(error.to_string()),
            Ok(Err(error)) => error.into(),
            Err(failure) => failure.into(),
        };
        if stop.load(Ordering::Acquire) {
            return Ok(None);
        }
        tracing::warn!(job = job.id, failure.detail, "a trained model waits to be registered");
        jobs.rest();
    }
}
