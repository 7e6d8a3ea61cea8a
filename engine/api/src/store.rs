//! Owns `/admin/v1/store`: what the store's figures are, and what its operator has it do.
//!
//! Refuses to know how it is done. As with plugins, what does something takes a body that is called
//! JSON, so that no page in an operator's browser can send it unasked. Bound: one action per call.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, Response};
use serde_json::{Map, Value};
use truststram_base::Kind;

use crate::policies::{answer, json_of};
use crate::ports::StoreAction;
use crate::problem::Problem;
use crate::router::Shared;

pub(crate) async fn show(State(ports): State<Shared>) -> Response<Body> {
    match ports.store.stats().await {
        Ok(value) => answer(&value),
        Err(failure) => Problem::new(failure.kind, failure.detail).into_response(),
    }
}

pub(crate) async fn run(
    State(ports): State<Shared>,
    Path(action): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let action = match action_of(action, &headers, &body) {
        Ok(action) => action,
        Err(problem) => return problem.into_response(),
    };
    match ports.store.run(action).await {
        Ok(value) => answer(&value),
        Err(failure) => Problem::new(failure.kind, failure.detail).into_response(),
    }
}

/// The action that a path names, with what the body says of it; an empty body says nothing.
fn action_of(name: String, headers: &HeaderMap, body: &[u8]) -> Result<StoreAction, Problem> {
    if !StoreAction::NAMES.contains(&name.as_str()) {
        let known = StoreAction::NAMES.join(", ");
        let detail = format!("the store does no `{name}`; it does {known}");
        return Err(Problem::new(Kind::NotFound, detail));
    }
    let body = if body.is_empty() { b"{}" } else { body };
    let mut fields: Map<String, Value> = json_of(headers, body)?;
    if fields.contains_key("action") {
        let detail = "the path names the action, `action` in the body has no place";
        return Err(Problem::new(Kind::Invalid, detail));
    }
    fields.insert("action".to_owned(), Value::String(name));
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| Problem::new(Kind::Invalid, format!("the body is not right: {error}")))
}
