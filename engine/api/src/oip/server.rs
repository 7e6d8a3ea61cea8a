//! Owns the server's own paths of the Open Inference Protocol: what it is, and whether it is well.
//!
//! Refuses to know how checks are made. Bound: constant answers but for readiness.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::Refusal;
use crate::filters::json;
use crate::predict::json_response;
use crate::router::Shared;

/// What the server is.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerResponse {
    /// `truststram`.
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// What it supports beyond the protocol.
    extensions: [&'static str; 6],
}

const SERVER: ServerResponse = ServerResponse {
    name: "truststram",
    version: env!("CARGO_PKG_VERSION"),
    extensions: [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "model_repository",
        "schedule_policy",
        "statistics",
    ],
};

/// What the server is and supports.
#[utoipa::path(get, path = "/v2",
    operation_id = "v2_server", tag = "inference protocol",
    responses((status = 200, description = "The server", body = ServerResponse)))]
pub(crate) async fn show() -> Response<Body> {
    json(&SERVER)
}

/// Whether the process answers at all.
#[utoipa::path(get, path = "/v2/health/live",
    operation_id = "v2_live", tag = "inference protocol",
    responses((status = 200, description = "The process answers")))]
pub(crate) async fn live() -> Response<Body> {
    json_response(br#"{"live":true}"#.to_vec())
}

/// Whether requests should be sent here.
#[utoipa::path(get, path = "/v2/health/ready",
    operation_id = "v2_ready", tag = "inference protocol",
    responses(
        (status = 200, description = "Every check passes"),
        (status = 503, description = "A check fails; `error` names it", body = Refusal),
    ))]
pub(crate) async fn ready(State(ports): State<Shared>) -> Response<Body> {
    let checks = ports.operate.readiness();
    let failed =
        checks.iter().find_map(|(name, check)| check.as_ref().err().map(|why| (name, why)));
    match failed {
        None => json_response(br#"{"ready":true}"#.to_vec()),
        Some((name, why)) => {
            let error = format!("the check `{name}` fails: {why}");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error).into_response()
        }
    }
}
