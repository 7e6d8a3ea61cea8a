//! Owns `/admin/v1/plugins`: plugins listed, shown, installed, removed, rolled back and switched.
//!
//! Refuses to know what a component is. What changes something takes PUT, DELETE or a JSON body, so
//! that no page in an operator's browser can send it unasked. Bound: one component as the body, by
//! the limit of the listener.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, Response, Uri, header};
use serde::Deserialize;
use serde_json::Value;
use truststram_base::Kind;

use crate::ports::{Install, PolicyAction, PolicyFailure};
use crate::predict::json_response;
use crate::problem::Problem;
use crate::router::{Ports, query_of};

/// How to install a component.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct InstallQuery {
    /// The settings, the text of one JSON object; `{}` if absent.
    settings: Option<String>,
    /// Ed25519 signature of the component, 128 hexadecimal digits.
    signature: Option<String>,
    /// Install it although it failed the questions that it is asked first.
    force: bool,
}

/// What `POST` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionBody {
    action: PolicyAction,
}

pub(crate) async fn list(State(ports): State<Ports>) -> Response<Body> {
    answer(&serde_json::json!({ "plugins": ports.policies.list() }))
}

pub(crate) async fn show(State(ports): State<Ports>, Path(name): Path<String>) -> Response<Body> {
    let plugins = ports.policies.list();
    match plugins.iter().find(|plugin| plugin["name"] == *name) {
        Some(plugin) => answer(plugin),
        None => of(Err(PolicyFailure::unknown(&name, &plugins))),
    }
}

pub(crate) async fn install(
    State(ports): State<Ports>,
    Path(name): Path<String>,
    uri: Uri,
    component: Bytes,
) -> Response<Body> {
    let query: InstallQuery = match query_of(&uri) {
        Ok(query) => query,
        Err(problem) => return problem.into_response(),
    };
    let install = Install {
        component: component.to_vec(),
        settings_json: query.settings.unwrap_or_else(|| "{}".to_owned()),
        signature: query.signature,
        force: query.force,
    };
    of(ports.policies.install(name, install).await)
}

pub(crate) async fn remove(State(ports): State<Ports>, Path(name): Path<String>) -> Response<Body> {
    of(ports.policies.act(name, PolicyAction::Remove).await)
}

pub(crate) async fn act(
    State(ports): State<Ports>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !media.is_some_and(|media| media.starts_with("application/json")) {
        let detail = "the body must be `application/json`, as the header `content-type` says";
        return Problem::new(Kind::Malformed, detail).into_response();
    }
    match serde_json::from_slice::<ActionBody>(&body) {
        Ok(ActionBody { action }) => of(ports.policies.act(name, action).await),
        Err(error) => Problem::new(Kind::Malformed, format!("the body cannot be read: {error}"))
            .into_response(),
    }
}

fn of(result: Result<Value, PolicyFailure>) -> Response<Body> {
    match result {
        Ok(value) => answer(&value),
        Err(failure) => Problem::new(failure.kind, failure.detail).into_response(),
    }
}

fn answer(value: &Value) -> Response<Body> {
    json_response(serde_json::to_vec_pretty(value).unwrap_or_default())
}
