//! Owns `/v2/repository`: which models there are, loaded and unloaded, as Triton has it.
//!
//! Refuses models in bodies: they are uploaded to `/api/v1/models`. Bound: the registered
//! versions.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refusal::{Refusal, Target, from_this_site};
use crate::filters::json;
use crate::ports::ServingState;
use crate::predict::{body_of, json_response};
use crate::router::Shared;
use crate::tensor::{Parameters, words};

/// Which models to list.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct IndexBody {
    /// Only those that answer now.
    ready: bool,
}

/// A registered version.
#[derive(Serialize, ToSchema)]
pub(crate) struct IndexEntryResponse {
    /// The model's id.
    name: String,
    /// The version.
    version: String,
    /// READY, LOADING, UNLOADING or UNAVAILABLE.
    state: &'static str,
    /// Why it does not answer, if there is more to say.
    reason: String,
}

/// How to load or unload a model.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct ChangeBody<'a> {
    /// `unload_dependents`, which has no effect: no model here depends on another.
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Parameters<'a>>,
}

/// Takes a body that no page of another site sent.
async fn body_of_this_site(request: Request<Body>) -> Result<Bytes, Refusal> {
    from_this_site(request.headers())?;
    Ok(body_of(request.into_body()).await?)
}

/// Reads a body that may be empty.
fn read<'a, T: Default + Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("the body cannot be read: {}", words(&error))))
}

/// List every registered version, and whether it answers.
#[utoipa::path(post, path = "/v2/repository/index",
    operation_id = "v2_repository_index", tag = "inference protocol",
    request_body = IndexBody,
    responses(
        (status = 200, description = "By model and version", body = Vec<IndexEntryResponse>),
        (status = 400, description = "The body cannot be read", body = Refusal),
        (status = 403, description = "A page of another site asks", body = Refusal),
        (status = 413, description = "The body is larger than the limit", body = Refusal),
        (status = 503, description = "Too many queries wait; see Retry-After", body = Refusal),
    ))]
pub(crate) async fn index(State(ports): State<Shared>, request: Request<Body>) -> Response<Body> {
    let body = body_of_this_site(request).await;
    let wanted = match body.and_then(|body| read::<IndexBody>(&body)) {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal.into_response(),
    };
    let found = match ports.models.index().await {
        Ok(found) => found,
        Err(failure) => return Refusal::from(failure).into_response(),
    };
    let found = found.into_iter().filter(|one| !wanted.ready || one.state == ServingState::Ready);
    let entries: Vec<IndexEntryResponse> = found
        .map(|entry| IndexEntryResponse {
            name: entry.model.into(),
            version: entry.version.to_string(),
            state: match entry.state {
                ServingState::Loading => "LOADING",
                ServingState::Ready => "READY",
                ServingState::Unloading => "UNLOADING",
                ServingState::Unavailable => "UNAVAILABLE",
            },
            reason: entry.reason,
        })
        .collect();
    json(&entries)
}

/// Refuses what would load another model than the registered one.
async fn plain_change(request: Request<Body>) -> Result<(), Refusal> {
    let body = body_of_this_site(request).await?;
    let change: ChangeBody<'_> = read(&body)?;
    let parameters = change.parameters.unwrap_or_default().0;
    let is_foreign = |key: &str| key == "config" || key.starts_with("file:");
    match parameters.iter().find(|(key, _)| is_foreign(key)) {
        None => Ok(()),
        Some((key, _)) => {
            let shown: String = key.chars().take(64).collect();
            Err(Refusal::bad(format!(
                "parameters.{shown} is not taken: a registered model is loaded as it is; upload \
                 another version to /api/v1/models/{{id}}/versions"
            )))
        }
    }
}

/// Load the active version of a registered model, anew if it is loaded already.
#[utoipa::path(post, path = "/v2/repository/models/{model}/load",
    operation_id = "v2_load_model", tag = "inference protocol",
    params(("model" = String, Path, description = "The model's id")),
    request_body = ChangeBody<'_>,
    responses(
        (status = 200, description = "It answers now"),
        (status = 400, description = "It cannot be loaded", body = Refusal),
        (status = 403, description = "A page of another site asks", body = Refusal),
        (status = 404, description = "No such model", body = Refusal),
        (status = 409, description = "Its state forbids it", body = Refusal),
        (status = 413, description = "The body is larger than the limit", body = Refusal),
        (status = 503, description = "There is no room for it; see Retry-After", body = Refusal),
    ))]
pub(crate) async fn load(
    State(ports): State<Shared>,
    target: Target,
    request: Request<Body>,
) -> Response<Body> {
    if let Err(refusal) = plain_change(request).await {
        return refusal.into_response();
    }
    done(ports.models.load(target.model).await.map_err(Refusal::from))
}

/// Have every version of a model stop answering. It stays registered.
#[utoipa::path(post, path = "/v2/repository/models/{model}/unload",
    operation_id = "v2_unload_model", tag = "inference protocol",
    params(("model" = String, Path, description = "The model's id")),
    request_body = ChangeBody<'_>,
    responses(
        (status = 200, description = "It answers no more"),
        (status = 400, description = "It cannot be unloaded", body = Refusal),
        (status = 403, description = "A page of another site asks", body = Refusal),
        (status = 404, description = "No such model", body = Refusal),
        (status = 409, description = "Its state forbids it", body = Refusal),
        (status = 413, description = "The body is larger than the limit", body = Refusal),
        (status = 503, description = "There is no room for it; see Retry-After", body = Refusal),
    ))]
pub(crate) async fn unload(
    State(ports): State<Shared>,
    target: Target,
    request: Request<Body>,
) -> Response<Body> {
    if let Err(refusal) = plain_change(request).await {
        return refusal.into_response();
    }
    done(ports.models.unload(target.model).await.map_err(Refusal::from))
}

fn done(result: Result<(), Refusal>) -> Response<Body> {
    match result {
        Ok(()) => json_response(b"{}".to_vec()),
        Err(refusal) => refusal.into_response(),
    }
}
