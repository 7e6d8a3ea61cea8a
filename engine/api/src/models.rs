//! Owns `GET /api/v1/models` and `GET /api/v1/models/{id}`.
//!
//! Refuses to know where models are kept. Bound: every registered version fits one answer; the
//! registry holds few.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::Response;
use serde::Serialize;
use truststram_base::{ModelEntry, ModelId};
use utoipa::ToSchema;

use crate::ports::Failure;
use crate::predict::json_response;
use crate::problem::Problem;
use crate::router::Ports;
use crate::timestamp;

/// One registered model.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelResponse {
    /// The model's id.
    #[schema(example = "digits")]
    id: String,
    /// The version that answers when a request names none.
    active_version: Option<u32>,
    /// Every version, newest first.
    versions: Vec<VersionResponse>,
}

/// One version of a model.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionResponse {
    /// Counted from 1.
    version: u32,
    /// Whether it answers when a request names none.
    active: bool,
    /// What kind of network it is.
    #[schema(example = "dense")]
    architecture: String,
    /// How many numbers `data` must hold.
    feature_count: u32,
    /// The names that `prediction` can take.
    classes: Vec<String>,
    /// Figures of the training run, for example `held_out_accuracy`.
    metrics: BTreeMap<String, f64>,
    /// When it was registered, RFC 3339 in UTC.
    created: String,
    /// SHA-256 of the model file.
    sha256: String,
    /// Size of the model file in bytes.
    bytes: u64,
}

/// All models.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelsResponse {
    /// By id.
    models: Vec<ModelResponse>,
}

/// List the registered models.
#[utoipa::path(get, path = "/api/v1/models", tag = "models",
    responses((status = 200, description = "All models by id", body = ModelsResponse)))]
pub(crate) async fn list(State(ports): State<Ports>) -> Response<Body> {
    match ports.records.models().await {
        Ok(entries) => {
            let models = group(entries);
            json_response(serde_json::to_vec(&ModelsResponse { models }).unwrap_or_default())
        }
        Err(failure) => Problem::from(failure).into_response(),
    }
}

/// Show one model.
#[utoipa::path(get, path = "/api/v1/models/{id}", tag = "models",
    params(("id" = String, Path, description = "The model's id")),
    responses(
        (status = 200, description = "The model and its versions", body = ModelResponse),
        (status = 404, description = "No such model", body = Problem),
    ))]
pub(crate) async fn show(State(ports): State<Ports>, Path(id): Path<String>) -> Response<Body> {
    match find(&ports, &id).await {
        Ok(model) => json_response(serde_json::to_vec(&model).unwrap_or_default()),
        Err(problem) => problem.into_response(),
    }
}

async fn find(ports: &Ports, id: &str) -> Result<ModelResponse, Problem> {
    let id = ModelId::new(id).map_err(|error| {
        Problem::new(truststram_base::Kind::NotFound, format!("the model id {error}"))
    })?;
    let entries = ports.records.models().await?;
    let model = group(entries).into_iter().find(|model| model.id == id.as_str());
    model.ok_or_else(|| Failure::UnknownModel(id).into())
}

fn group(entries: Vec<ModelEntry>) -> Vec<ModelResponse> {
    let mut models: BTreeMap<String, ModelResponse> = BTreeMap::new();
    for entry in entries {
        let id = entry.id.as_str().to_owned();
        let model = models.entry(id.clone()).or_insert_with(|| ModelResponse {
            id,
            active_version: None,
            versions: Vec::new(),
        });
        if entry.active {
            model.active_version = Some(entry.version.0);
        }
        model.versions.push(VersionResponse {
            version: entry.version.0,
            active: entry.active,
            architecture: entry.architecture,
            feature_count: entry.feature_count,
            classes: entry.classes,
            metrics: entry.metrics.into_iter().collect(),
            created: timestamp::format(entry.created_us),
            sha256: entry.sha256,
            bytes: entry.bytes,
        });
    }
    let mut models: Vec<ModelResponse> = models.into_values().collect();
    for model in &mut models {
        model.versions.sort_by_key(|version| std::cmp::Reverse(version.version));
    }
    models
}
