//! Owns the operator's side: `/metrics`, `/admin/v1/status` and `/admin/v1/config/reload`.
//!
//! Refuses to know what is measured. It listens apart from the public side. Bound: one answer per
//! call, made on demand.

use axum::body::Body;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use crate::policies::{answer, json_of};
use crate::ports::ReloadFailure;
use crate::predict::json_response;
use crate::problem::{FieldError, Problem};
use crate::router::Shared;

/// The media type of the text that `prometheus-client` writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn metrics(State(ports): State<Shared>) -> Response<Body> {
    let mut response = Response::new(Body::from(ports.operate.metrics()));
    let media = HeaderValue::from_static(OPENMETRICS);
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

pub(crate) async fn status(State(ports): State<Shared>) -> Response<Body> {
    let status = serde_json::to_vec_pretty(&ports.operate.status()).unwrap_or_default();
    json_response(status)
}

/// As with plugins, the body must be called JSON, so that no page in an operator's browser can send
/// it unasked.
pub(crate) async fn reload(
    State(ports): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
    if let Err(problem) = json_of::<Map<String, Value>>(&headers, body) {
        return problem.into_response();
    }
    match ports.operate.reload().await {
        Ok(()) => answer(&json!({ "reloaded": true })),
        Err(ReloadFailure::Busy(failure)) => Problem::from(failure).into_response(),
        Err(ReloadFailure::Faults(faults)) => {
            let errors = faults.into_iter().map(|(key, what)| FieldError::new(&key, what));
            Problem::invalid(errors.collect()).into_response()
        }
    }
}
