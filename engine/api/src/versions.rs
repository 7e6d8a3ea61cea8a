//! Owns `/api/v1/models/{id}/versions`: a version shown, uploaded, put to use and removed.
//!
//! Refuses to know files. What changes something takes PUT, DELETE, or a POST whose media type no
//! page of another site can send unasked. Bound: bodies other than artifacts by
//! [`CHANGE_BYTES_MAX`].

mod artifact;
mod digest;
mod render;
pub(crate) mod upload;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::IntoResponse;
use http::request::Parts;
use http::{Request, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use truststram_base::{Kind, ModelId, ModelVersion};
use utoipa::ToSchema;

use crate::filters::{invalid, json};
use crate::models::id_of;
use crate::ports::{Failure, ModelFailure, VersionChange, VersionDetail};
use crate::predict::is_media;
use crate::problem::Problem;
use crate::router::Ports;
use crate::tensor::words;

pub(crate) use render::VersionDetailResponse;

/// Largest body that says how to change a version, in bytes.
const CHANGE_BYTES_MAX: usize = 4_096;

/// The version that a path names.
pub(crate) struct Named {
    model: ModelId,
    version: Option<ModelVersion>,
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Path::<BTreeMap<String, String>>::from_request_parts(parts, state).await;
        let Path(named) =
            named.map_err(|error| Problem::new(Kind::Malformed, error.to_string()))?;
        let model = id_of(named.get("id").map_or("", String::as_str))?;
        let version = named.get("version").map(|version| version_of(version)).transpose()?;
        Ok(Self { model, version })
    }
}

fn version_of(text: &str) -> Result<ModelVersion, Problem> {
    let version = text.parse().ok().filter(|&version| version > 0);
    version.map(ModelVersion).ok_or_else(|| invalid("version", "must be a whole number from 1"))
}

/// Which version becomes the active one.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ActivateBody {
    /// The version; needed where the path names none.
    version: Option<u32>,
}

/// What share a canary answers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CanaryBody {
    /// Percent of the questions that name no version, a whole number from 1 to 100; 0 ends the
    /// canary.
    #[schema(minimum = 0, maximum = 100, multiple_of = 1, example = 5)]
    percent: f64,
}

impl Default for CanaryBody {
    fn default() -> Self {
        Self { percent: 5.0 }
    }
}

/// A body that has nothing to say.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NoBody {}

/// Reads a body that may be empty but must be called JSON.
async fn read<T: DeserializeOwned + Default>(request: Request<Body>) -> Result<T, Problem> {
    if !is_media(&request, "application/json") {
        let detail = "send this with `content-type: application/json`, with or without a body";
        return Err(Problem::media_type(detail));
    }
    let body = axum::body::to_bytes(request.into_body(), CHANGE_BYTES_MAX).await.map_err(|_| {
        let detail = format!("the body is larger than the limit of {CHANGE_BYTES_MAX} bytes");
        Problem::new(Kind::TooLarge, detail)
    })?;
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&body).map_err(|error| {
        let kind = if error.is_data() { Kind::Invalid } else { Kind::Malformed };
        Problem::new(kind, format!("the body cannot be read: {}", words(&error)))
    })
}

fn of(result: Result<VersionDetail, ModelFailure>) -> Response<Body> {
    match result {
        Ok(detail) => json(&VersionDetailResponse::from(detail)),
        Err(failure) => Problem::from(failure).into_response(),
    }
}

/// Has a version changed; where the path names none, the body does.
async fn change(
    ports: &Ports,
    named: Named,
    asked: Result<(Option<u32>, VersionChange), Problem>,
) -> Response<Body> {
    let (version, change) = match asked {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let version = match (named.version, version) {
        (Some(named), Some(other)) if named.0 != other => {
            return invalid("version", "is not the one in the path").into_response();
        }
        (Some(named), _) => named,
        (None, Some(0)) => return invalid("version", "must be at least 1").into_response(),
        (None, Some(version)) => ModelVersion(version),
        (None, None) => return invalid("version", "is missing").into_response(),
    };
    of(ports.registry.change(named.model, version, change).await)
}

/// Show a version of a model.
#[utoipa::path(get, path = "/api/v1/models/{id}/versions/{version}",
    operation_id = "show_version", tag = "models",
    params(
        ("id" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
    ),
    responses(
        (status = 200, description = "The version", body = VersionDetailResponse),
        (status = 404, description = "No such model or version", body = Problem),
        (status = 422, description = "The version is no number", body = Problem),
    ))]
pub(crate) async fn show(State(ports): State<Ports>, named: Named) -> Response<Body> {
    match named.version {
        Some(version) => of(ports.registry.version(named.model, version).await),
        None => Problem::from(Failure::UnknownModel(named.model)).into_response(),
    }
}

/// Remove a version and its file for good.
#[utoipa::path(delete, path = "/api/v1/models/{id}/versions/{version}",
    operation_id = "remove_version", tag = "models",
    params(
        ("id" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
    ),
    responses(
        (status = 200, description = "What it was", body = VersionDetailResponse),
        (status = 404, description = "No such model or version", body = Problem),
        (status = 409, description = "It is the active one", body = Problem),
        (status = 422, description = "The version is no number", body = Problem),
    ))]
pub(crate) async fn remove(State(ports): State<Ports>, named: Named) -> Response<Body> {
    match named.version {
        Some(version) => of(ports.registry.remove(named.model, version).await),
        None => Problem::from(Failure::UnknownModel(named.model)).into_response(),
    }
}

/// Make a version the one that answers those who name none.
#[utoipa::path(post, path = "/api/v1/models/{id}/activate",
    operation_id = "activate_named_version", tag = "models",
    params(("id" = String, Path, description = "The model's id")),
    request_body = ActivateBody,
    responses(
        (status = 200, description = "The version, now active", body = VersionDetailResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 404, description = "No such model or version", body = Problem),
        (status = 409, description = "It cannot answer", body = Problem),
        (status = 413, description = "The body is larger than the limit", body = Problem),
        (status = 415, description = "The body is not called JSON", body = Problem),
        (status = 422, description = "A value is not acceptable", body = Problem),
    ))]
pub(crate) async fn activate_in_body(
    State(ports): State<Ports>,
    named: Named,
    request: Request<Body>,
) -> Response<Body> {
    let body = read::<ActivateBody>(request).await;
    change(&ports, named, body.map(|body| (body.version, VersionChange::Activate))).await
}

/// Make a version the one that answers those who name none.
#[utoipa::path(post, path = "/api/v1/models/{id}/versions/{version}/activate",
    operation_id = "activate_version", tag = "models",
    params(
        ("id" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
    ),
    request_body = ActivateBody,
    responses(
        (status = 200, description = "The version, now active", body = VersionDetailResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 404, description = "No such model or version", body = Problem),
        (status = 409, description = "It cannot answer", body = Problem),
        (status = 413, description = "The body is larger than the limit", body = Problem),
        (status = 415, description = "The body is not called JSON", body = Problem),
        (status = 422, description = "A value is not acceptable", body = Problem),
    ))]
pub(crate) async fn activate(
    State(ports): State<Ports>,
    named: Named,
    request: Request<Body>,
) -> Response<Body> {
    let body = read::<ActivateBody>(request).await;
    change(&ports, named, body.map(|body| (body.version, VersionChange::Activate))).await
}

/// Have a version answer a share of those who name none.
#[utoipa::path(post, path = "/api/v1/models/{id}/versions/{version}/canary",
    operation_id = "start_canary", tag = "models",
    params(
        ("id" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
    ),
    request_body = CanaryBody,
    responses(
        (status = 200, description = "The version, now a canary", body = VersionDetailResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 404, description = "No such model or version", body = Problem),
        (status = 409, description = "It is the active one, or differs in what it takes or gives",
         body = Problem),
        (status = 413, description = "The body is larger than the limit", body = Problem),
        (status = 415, description = "The body is not called JSON", body = Problem),
        (status = 422, description = "A value is not acceptable", body = Problem),
    ))]
pub(crate) async fn canary(
    State(ports): State<Ports>,
    named: Named,
    request: Request<Body>,
) -> Response<Body> {
    let body = read::<CanaryBody>(request).await.and_then(|CanaryBody { percent }| {
        if (0.0..=100.0).contains(&percent) && percent.fract() == 0.0 {
            return Ok((None, VersionChange::Canary(percent)));
        }
        Err(invalid("percent", format!("must be a whole number from 0 to 100, found {percent}")))
    });
    change(&ports, named, body).await
}

/// Have a version asked the same as the active one, only to compare.
#[utoipa::path(post, path = "/api/v1/models/{id}/versions/{version}/shadow",
    operation_id = "start_shadow", tag = "models",
    params(
        ("id" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
    ),
    request_body = NoBody,
    responses(
        (status = 200, description = "The version, now a shadow", body = VersionDetailResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 404, description = "No such model or version", body = Problem),
        (status = 409, description = "It is the active one, or differs in what it takes or gives",
         body = Problem),
        (status = 413, description = "The body is larger than the limit", body = Problem),
        (status = 415, description = "The body is not called JSON", body = Problem),
        (status = 422, description = "A value is not acceptable", body = Problem),
    ))]
pub(crate) async fn shadow(
    State(ports): State<Ports>,
    named: Named,
    request: Request<Body>,
) -> Response<Body> {
    let body = read::<NoBody>(request).await;
    change(&ports, named, body.map(|NoBody {}| (None, VersionChange::Shadow))).await
}

/// Have a version answer no more; it is kept.
#[utoipa::path(post, path = "/api/v1/models/{id}/versions/{version}/retire",
    operation_id = "retire_version", tag = "models",
    params(
        ("id" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
    ),
    request_body = NoBody,
    responses(
        (status = 200, description = "The version, now retired", body = VersionDetailResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 404, description = "No such model or version", body = Problem),
        (status = 409, description = "It is the active one", body = Problem),
        (status = 413, description = "The body is larger than the limit", body = Problem),
        (status = 415, description = "The body is not called JSON", body = Problem),
        (status = 422, description = "A value is not acceptable", body = Problem),
    ))]
pub(crate) async fn retire(
    State(ports): State<Ports>,
    named: Named,
    request: Request<Body>,
) -> Response<Body> {
    let body = read::<NoBody>(request).await;
    change(&ports, named, body.map(|NoBody {}| (None, VersionChange::Retire))).await
}

/// Go back to the version that was active before the present one.
#[utoipa::path(post, path = "/api/v1/models/{id}/rollback",
    operation_id = "roll_back_model", tag = "models",
    params(("id" = String, Path, description = "The model's id")),
    request_body = NoBody,
    responses(
        (status = 200, description = "The version, active again", body = VersionDetailResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 404, description = "No such model", body = Problem),
        (status = 409, description = "No version was active before", body = Problem),
        (status = 413, description = "The body is larger than the limit", body = Problem),
        (status = 415, description = "The body is not called JSON", body = Problem),
        (status = 422, description = "A value is not acceptable", body = Problem),
    ))]
pub(crate) async fn roll_back(
    State(ports): State<Ports>,
    named: Named,
    request: Request<Body>,
) -> Response<Body> {
    match read::<NoBody>(request).await {
        Ok(NoBody {}) => of(ports.registry.roll_back(named.model).await),
        Err(problem) => problem.into_response(),
    }
}
