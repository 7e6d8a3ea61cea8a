//! Owns `/admin/v1/keys`: API keys listed, made, exchanged and revoked; and the exchange of the key
//! that signs tokens.
//!
//! Refuses to know how they are kept. A secret is in one answer, which nobody is to cache. Bound:
//! one change per call.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::policies::{answer, json_of};
use crate::ports::{KeyChange, NewKey, OVERLAP_S, StoreFailure};
use crate::problem::Problem;
use crate::router::Shared;

/// How a key gets another secret.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rotation {
    /// Seconds for which the secret before is good still.
    overlap_s: Option<u64>,
}

pub(crate) async fn list(State(ports): State<Shared>) -> Response<Body> {
    of(ports.keys.list().await, StatusCode::OK)
}

pub(crate) async fn create(
    State(ports): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    match json_of::<NewKey>(&headers, &body) {
        Ok(key) => of(ports.keys.change(KeyChange::Create(key)).await, StatusCode::CREATED),
        Err(problem) => problem.into_response(),
    }
}

pub(crate) async fn rotate(
    State(ports): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    match json_of::<Rotation>(&headers, &body) {
        Ok(rotation) => {
            let change = KeyChange::Rotate(id, rotation.overlap_s.unwrap_or(OVERLAP_S));
            of(ports.keys.change(change).await, StatusCode::OK)
        }
        Err(problem) => problem.into_response(),
    }
}

/// As with plugins, the body must be called JSON.
pub(crate) async fn rotate_signer(
    State(ports): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    match json_of::<Map<String, Value>>(&headers, &body) {
        Ok(_) => of(ports.keys.rotate_signer().await, StatusCode::OK),
        Err(problem) => problem.into_response(),
    }
}

pub(crate) async fn revoke(State(ports): State<Shared>, Path(id): Path<String>) -> Response<Body> {
    of(ports.keys.change(KeyChange::Revoke(id)).await, StatusCode::OK)
}

fn of(result: Result<Value, StoreFailure>, status: StatusCode) -> Response<Body> {
    match result {
        Ok(value) => {
            let mut response = answer(&value);
            *response.status_mut() = status;
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, no_store);
            response
        }
        Err(failure) => Problem::new(failure.kind, failure.detail).into_response(),
    }
}
