//! Owns the operators' side of a federation: it is started, stopped and shown; tokens are made.
//!
//! Refuses to know what a description holds. Bound: [`TOKENS_MAX`] tokens at a time.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::filters::invalid;
use crate::policies::{answer, json_of};
use crate::ports::FederatedFailure;
use crate::problem::Problem;
use crate::router::Shared;

const TOKENS_MAX: usize = 10_000;
const VALID_S_MAX: u64 = 365 * 86_400;

/// How many tokens, and for how long.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TokensBody {
    count: usize,
    valid_s: u64,
}

impl Default for TokensBody {
    fn default() -> Self {
        Self { count: 1, valid_s: 86_400 }
    }
}

fn of(result: Result<Value, FederatedFailure>) -> Response<Body> {
    match result {
        Ok(value) => answer(&value),
        Err(failure) => Problem::from(failure).into_response(),
    }
}

pub(super) async fn show(State(ports): State<Shared>) -> Response<Body> {
    of(ports.federated.records().await)
}

pub(super) async fn start(
    State(ports): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    match json_of::<Map<String, Value>>(&headers, &body) {
        Ok(spec) => of(ports.federated.start(Value::Object(spec)).await),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn stop(
    State(ports): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
    match json_of::<Map<String, Value>>(&headers, body) {
        Ok(_) => of(ports.federated.stop().await),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn tokens(
    State(ports): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
    match json_of::<TokensBody>(&headers, body) {
        Ok(TokensBody { count, .. }) if !(1..=TOKENS_MAX).contains(&count) => {
            invalid("count", format!("must be 1 to {TOKENS_MAX}")).into_response()
        }
        Ok(TokensBody { valid_s, .. }) if !(1..=VALID_S_MAX).contains(&valid_s) => {
            invalid("valid_s", format!("must be 1 to {VALID_S_MAX}")).into_response()
        }
        Ok(TokensBody { count, valid_s }) => {
            let made = ports.federated.tokens(count, valid_s).await;
            of(made.map(|tokens| json!({ "tokens": tokens, "valid_s": valid_s })))
        }
        Err(problem) => problem.into_response(),
    }
}
