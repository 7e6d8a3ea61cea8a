//! Owns `/api/v1/fl`: the clients of a federation, their tasks, models and updates, and where it
//! stands; and the operators' side of it.
//!
//! Refuses to know rounds. Every request of a client is signed (`signed`). Bound: JSON bodies by
//! [`BODY_BYTES_MAX`]; updates and models pass through in chunks.

pub(crate) mod clients;
pub(crate) mod models;
mod operate;
pub(crate) mod secure;
mod signed;
pub(crate) mod status;
pub(crate) mod updates;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::{Method, Response, StatusCode};
use utoipa::IntoResponses;

use crate::ports::FederatedFailure;
use crate::problem::Problem;
use crate::router::Shared;

/// Largest body of JSON.
const BODY_BYTES_MAX: usize = 4_096;

/// The routes for clients and watchers.
pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/fl/clients", post(clients::enrol))
        .route("/api/v1/fl/clients/{client}/heartbeat", post(clients::heartbeat))
        .route("/api/v1/fl/clients/{client}/task", get(clients::task))
        .route("/api/v1/fl/models/{model}/versions/{version}", get(models::show))
        .route("/api/v1/fl/tasks/{task}/updates", post(updates::update))
        .route(
            "/api/v1/fl/tasks/{task}/upload",
            get(updates::offset).post(updates::open_upload).patch(updates::append),
        )
        .route("/api/v1/fl/tasks/{task}/upload/commit", post(updates::commit))
        .route("/api/v1/fl/tasks/{task}/secure", get(secure::show).post(secure::send))
        .route("/api/v1/fl/status", get(status::status))
        .route("/api/v1/fl/events", get(status::events))
}

/// The routes for operators.
pub(crate) fn admin_routes() -> Router<Shared> {
    Router::new()
        .route("/admin/v1/federation", get(operate::show).post(operate::start))
        .route("/admin/v1/federation/stop", post(operate::stop))
        .route("/admin/v1/federation/tokens", post(operate::tokens))
}

/// Whether the body of a request is read as it arrives: that of an update, or a part of one.
pub(crate) fn streams(method: &Method, path: &str) -> bool {
    let Some(below) = path.strip_prefix("/api/v1/fl/tasks/") else { return false };
    let action = below.split_once('/').map(|(_, action)| action);
    match action {
        Some("updates") => method == Method::POST,
        Some("upload") => method == Method::PATCH,
        _ => false,
    }
}

impl From<FederatedFailure> for Problem {
    fn from(failure: FederatedFailure) -> Self {
        if failure.is_too_many {
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Self::of_status(status, "too-many", "Too many requests", failure.detail);
        }
        Self::new(failure.kind, failure.detail)
    }
}

fn answer(result: Result<Response<Body>, Problem>) -> Response<Body> {
    result.unwrap_or_else(IntoResponse::into_response)
}

/// What a request of a client can end in besides its answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes what the handlers and the federation answer")]
enum Refused {
    /// The body or the query cannot be read.
    #[response(status = 400)]
    Malformed(Problem),
    /// It is not signed by a client of this federation.
    #[response(status = 401)]
    Denied(Problem),
    /// There is no such task, model or upload of this client.
    #[response(status = 404)]
    NotFound(Problem),
    /// The task has another update, or the upload is elsewhere.
    #[response(status = 409)]
    Conflict(Problem),
    /// The task, or the federation, is over.
    #[response(status = 410)]
    Gone(Problem),
    /// It is larger than an update of this model can be.
    #[response(status = 413)]
    TooLarge(Problem),
    /// The body is called something else.
    #[response(status = 415)]
    MediaType(Problem),
    /// It does not fit the model, or a value is not acceptable.
    #[response(status = 422)]
    Invalid(Problem),
    /// Too many updates of this client were refused; see Retry-After.
    #[response(status = 429)]
    TooMany(Problem),
    /// No federation runs, or too much waits; see Retry-After.
    #[response(status = 503)]
    Unavailable(Problem),
    /// The disk is full.
    #[response(status = 507)]
    NoSpace(Problem),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_read_as_they_arrive() {
        let check = |method: Method, path: &str, expected: bool| {
            assert_eq!(streams(&method, path), expected, "{method} {path}");
        };
        check(Method::POST, "/api/v1/fl/tasks/7/updates", true);
        check(Method::PATCH, "/api/v1/fl/tasks/7/upload", true);
        check(Method::POST, "/api/v1/fl/tasks/7/upload", false);
        check(Method::GET, "/api/v1/fl/tasks/7/updates", false);
        check(Method::POST, "/api/v1/fl/tasks/7/upload/commit", false);
        check(Method::POST, "/api/v1/fl/clients", false);
    }
}
