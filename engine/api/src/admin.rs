//! Owns the operator's side: `/metrics` and `/admin/v1/status`.
//!
//! Refuses to know what is measured. It listens apart from the public side. Bound: one answer per
//! call, made on demand.

use axum::body::Body;
use axum::extract::State;
use http::{HeaderValue, Response, header};

use crate::predict::json_response;
use crate::router::Ports;

/// The media type of the text that `prometheus-client` writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn metrics(State(ports): State<Ports>) -> Response<Body> {
    let mut response = Response::new(Body::from(ports.operate.metrics()));
    let media = HeaderValue::from_static(OPENMETRICS);
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

pub(crate) async fn status(State(ports): State<Ports>) -> Response<Body> {
    let status = serde_json::to_vec_pretty(&ports.operate.status()).unwrap_or_default();
    json_response(status)
}
