//! Owns the operator's side of the cache of answers: its figures, and what is removed from it.
//!
//! Refuses a purge that names nothing, or two things. Bound: one pass over the keys.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, Response};
use serde_json::json;
use truststram_base::Kind;

use crate::policies::{answer, json_of};
use crate::ports::CachePurge;
use crate::problem::Problem;
use crate::router::Shared;

pub(crate) async fn show(State(ports): State<Shared>) -> Response<Body> {
    answer(&ports.operate.cache())
}

/// As with plugins, the body must be called JSON, so that no page in an operator's browser can send
/// it unasked.
pub(crate) async fn purge(
    State(ports): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let purge = match json_of::<CachePurge>(&headers, &body) {
        Ok(purge) => purge,
        Err(problem) => return problem.into_response(),
    };
    let is_nothing = match &purge {
        CachePurge::Key(text) | CachePurge::Prefix(text) | CachePurge::Tag(text) => text.is_empty(),
        CachePurge::All(all) => !all,
    };
    if is_nothing {
        let detail = "names nothing; everything is removed by `{\"all\": true}`";
        return Problem::new(Kind::Malformed, detail).into_response();
    }
    match ports.operate.purge(&purge) {
        Some(removed) => answer(&json!({ "removed": removed })),
        None => {
            let detail = "there is no cache; `cache.memory_mib` gives it room";
            Problem::new(Kind::NotFound, detail).into_response()
        }
    }
}
