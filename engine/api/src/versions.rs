//! Owns `/api/v1/models/{id}/versions`: a version shown, uploaded, put to use and removed.
//!
//! Refuses to know files. What changes something takes PUT, DELETE, or a POST whose media type no
//! page of another site can send unasked. Bound: bodies other than artifacts by
//! [`CHANGE_BYTES_MAX`].

mod artifact;
pub(crate) mod digest;
mod render;
pub(crate) mod upload;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use truststram_base::{Kind, ModelVersion};
use utoipa::{IntoResponses, ToSchema};

use crate::filters::{invalid, json};
use crate::ports::{ModelFailure, VersionChange, VersionDetail};
use crate::predict::is_media;
use crate::problem::Problem;
use crate::router::{Ports, Shared};
use crate::target::{NamedModel, NamedVersion};
use crate::tensor::words;

pub(crate) use render::VersionDetailResponse;

/// Largest body that says how to change a version, in bytes.
const CHANGE_BYTES_MAX: usize = 4_096;

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
    read_within(request, CHANGE_BYTES_MAX).await
}

/// The same, of at most so many bytes.
pub(crate) async fn read_within<T: DeserializeOwned + Default>(
    request: Request<Body>,
    bytes_max: usize,
) -> Result<T, Problem> {
    if !is_media(&request, "application/json") {
        let detail = "send this with `content-type: application/json`, with or without a body";
        return Err(Problem::media_type(detail));
    }
    let body = axum::body::to_bytes(request.into_body(), bytes_max).await.map_err(|_| {
        let detail = format!("the body is larger than the limit of {bytes_max} bytes");
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

/// Has a version changed.
async fn change(ports: &Ports, named: NamedVersion, change: VersionChange) -> Response<Body> {
    of(ports.registry.change(named.model, named.version, change).await)
}

/// What a change of a version can end in besides the version.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes what `read` and the registry answer")]
enum Unchanged {
    /// The body is not JSON.
    #[response(status = 400)]
    Malformed(Problem),
    /// There is no such model or version.
    #[response(status = 404)]
    NotFound(Problem),
    /// The version cannot answer, is the active one, or differs from it in what it takes or gives;
    /// or no version was active before.
    #[response(status = 409)]
    Conflict(Problem),
    /// The body is larger than the limit.
    #[response(status = 413)]
    TooLarge(Problem),
    /// The body is not called JSON.
    #[response(status = 415)]
    MediaType(Problem),
    /// A value is not acceptable.
    #[response(status = 422)]
    Invalid(Problem),
    /// There is no room for it, or too many changes wait; see Retry-After.
    #[response(status = 503)]
    Unavailable(Problem),
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
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn show(State(ports): State<Shared>, named: NamedVersion) -> Response<Body> {
    of(ports.registry.version(named.model, named.version).await)
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
        (status = 503, description = "Too many queries wait; see Retry-After", body = Problem),
    ))]
pub(crate) async fn remove(State(ports): State<Shared>, named: NamedVersion) -> Response<Body> {
    of(ports.registry.remove(named.model, named.version).await)
}

/// Make a version the one that answers those who name none.
#[utoipa::path(post, path = "/api/v1/models/{id}/activate",
    operation_id = "activate_named_version", tag = "models",
    params(("id" = String, Path, description = "The model's id")),
    request_body = ActivateBody,
    responses(
        (status = 200, description = "The version, now active", body = VersionDetailResponse),
        Unchanged,
    ))]
pub(crate) async fn activate_in_body(
    State(ports): State<Shared>,
    NamedModel(model): NamedModel,
    request: Request<Body>,
) -> Response<Body> {
    match read::<ActivateBody>(request).await {
        Ok(ActivateBody { version: None }) => invalid("version", "is missing").into_response(),
        Ok(ActivateBody { version: Some(0) }) => {
            invalid("version", "must be at least 1").into_response()
        }
        Ok(ActivateBody { version: Some(version) }) => {
            let named = NamedVersion { model, version: ModelVersion(version) };
            change(&ports, named, VersionChange::Activate).await
        }
        Err(problem) => problem.into_response(),
    }
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
        Unchanged,
    ))]
pub(crate) async fn activate(
    State(ports): State<Shared>,
    named: NamedVersion,
    request: Request<Body>,
) -> Response<Body> {
    match read::<ActivateBody>(request).await {
        Ok(ActivateBody { version: Some(other) }) if other != named.version.0 => {
            invalid("version", "is not the one in the path").into_response()
        }
        Ok(_) => change(&ports, named, VersionChange::Activate).await,
        Err(problem) => problem.into_response(),
    }
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
        Unchanged,
    ))]
pub(crate) async fn canary(
    State(ports): State<Shared>,
    named: NamedVersion,
    request: Request<Body>,
) -> Response<Body> {
    match read::<CanaryBody>(request).await {
        Ok(CanaryBody { percent })
            if !(0.0..=100.0).contains(&percent) || percent.fract() != 0.0 =>
        {
            let message = format!("must be a whole number from 0 to 100, found {percent}");
            invalid("percent", message).into_response()
        }
        Ok(CanaryBody { percent }) => {
            // A whole number up to 100, seen above.
            change(&ports, named, VersionChange::Canary(percent as u8)).await
        }
        Err(problem) => problem.into_response(),
    }
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
        Unchanged,
    ))]
pub(crate) async fn shadow(
    State(ports): State<Shared>,
    named: NamedVersion,
    request: Request<Body>,
) -> Response<Body> {
    match read::<NoBody>(request).await {
        Ok(NoBody {}) => change(&ports, named, VersionChange::Shadow).await,
        Err(problem) => problem.into_response(),
    }
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
        Unchanged,
    ))]
pub(crate) async fn retire(
    State(ports): State<Shared>,
    named: NamedVersion,
    request: Request<Body>,
) -> Response<Body> {
    match read::<NoBody>(request).await {
        Ok(NoBody {}) => change(&ports, named, VersionChange::Retire).await,
        Err(problem) => problem.into_response(),
    }
}

/// Go back to the version that was active before the present one.
#[utoipa::path(post, path = "/api/v1/models/{id}/rollback",
    operation_id = "roll_back_model", tag = "models",
    params(("id" = String, Path, description = "The model's id")),
    request_body = NoBody,
    responses(
        (status = 200, description = "The version, active again", body = VersionDetailResponse),
        Unchanged,
    ))]
pub(crate) async fn roll_back(
    State(ports): State<Shared>,
    NamedModel(model): NamedModel,
    request: Request<Body>,
) -> Response<Body> {
    match read::<NoBody>(request).await {
        Ok(NoBody {}) => of(ports.registry.roll_back(model).await),
        Err(problem) => problem.into_response(),
    }
}
