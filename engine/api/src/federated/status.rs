//! Owns what everybody may see of a federation: where it stands, and what happens in it.
//!
//! Refuses to name clients by more than their numbers. Bound: the watchers that the port allows.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::Response;
use truststram_base::Kind;

use crate::filters::json;
use crate::problem::Problem;
use crate::router::Shared;
use crate::sse;

/// Show where the federation stands.
#[utoipa::path(get, path = "/api/v1/fl/status", operation_id = "federation_status",
    tag = "federated learning",
    responses(
        (status = 200, description = "State, round, clients, updates", body = serde_json::Value),
    ))]
pub(crate) async fn status(State(ports): State<Shared>) -> Response<Body> {
    json(&ports.federated.status())
}

/// Watch what happens in the federation, as server-sent events.
#[utoipa::path(get, path = "/api/v1/fl/events", operation_id = "federation_events",
    tag = "federated learning",
    responses(
        (status = 200, description = "`round`, `client`, `update`, `refused`, `version`, `kept`",
         content((String = "text/event-stream"))),
        (status = 503, description = "Too many watch; see Retry-After", body = Problem),
    ))]
pub(crate) async fn events(State(ports): State<Shared>) -> Response<Body> {
    let Some(events) = ports.federated.events() else {
        let detail = "federated learning is off, or too many watch it already";
        return Problem::new(Kind::Overloaded, detail).into_response();
    };
    sse::answer(events)
}
