//! Owns `/admin/v1/plugins`: plugins listed, shown, installed, tried, removed, rolled back,
//! switched and asked, and their recorded decisions.
//!
//! Refuses to know what a component is. What changes something takes PUT, DELETE or a JSON body, so
//! that no page in an operator's browser can send it unasked. Bound: one component as the body, by
//! the limit of the listener.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderValue, Response, Uri, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use truststram_base::Kind;

use crate::ports::{Install, InstallStage, PolicyAction, PolicyFailure};
use crate::predict::json_response;
use crate::problem::Problem;
use crate::router::{Shared, query_of};

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
    /// How it is put to use; `use` if absent.
    stage: Option<StageName>,
    /// For `canary`: the share of the questions that it decides; 0.05 if absent.
    share: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StageName {
    Use,
    Shadow,
    Canary,
}

/// Share of a canary for which none is given.
const CANARY_SHARE: f64 = 0.05;
/// Runs that are shown for which no limit is given, and the most.
const RUNS_SHOWN: usize = 100;
const RUNS_MAX: usize = 100_000;

impl InstallQuery {
    fn stage(&self) -> Result<InstallStage, Problem> {
        let refused = |detail: &str| Err(Problem::new(Kind::Invalid, detail));
        match (self.stage.unwrap_or(StageName::Use), self.share) {
            (StageName::Canary, share) => match share.unwrap_or(CANARY_SHARE) {
                share if share > 0.0 && share <= 1.0 => Ok(InstallStage::Canary(share)),
                _ => refused("`share` must be above 0 and at most 1"),
            },
            (_, Some(_)) => refused("`share` belongs to the stage `canary`"),
            (StageName::Use, None) => Ok(InstallStage::Use),
            (StageName::Shadow, None) => Ok(InstallStage::Shadow),
        }
    }
}

/// Which recorded decisions to show, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DecisionsQuery {
    limit: Option<usize>,
    /// `json` for people, `frames` for `truststram plugin replay`.
    format: Option<DecisionsFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DecisionsFormat {
    Json,
    Frames,
}

/// What `POST` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionBody {
    action: PolicyAction,
}

pub(crate) async fn list(State(ports): State<Shared>) -> Response<Body> {
    answer(&serde_json::json!({ "plugins": ports.policies.list() }))
}

pub(crate) async fn show(State(ports): State<Shared>, Path(name): Path<String>) -> Response<Body> {
    let plugins = ports.policies.list();
    match plugins.iter().find(|plugin| plugin["name"] == *name) {
        Some(plugin) => answer(plugin),
        None => of(Err(PolicyFailure::unknown(&name, &plugins))),
    }
}

pub(crate) async fn install(
    State(ports): State<Shared>,
    Path(name): Path<String>,
    uri: Uri,
    component: Bytes,
) -> Response<Body> {
    let query: InstallQuery = match query_of(&uri) {
        Ok(query) => query,
        Err(problem) => return problem.into_response(),
    };
    let stage = match query.stage() {
        Ok(stage) => stage,
        Err(problem) => return problem.into_response(),
    };
    let install = Install {
        component: component.to_vec(),
        settings_json: query.settings.unwrap_or_else(|| "{}".to_owned()),
        signature: query.signature,
        force: query.force,
        stage,
    };
    of(ports.policies.install(name, install).await)
}

pub(crate) async fn remove(
    State(ports): State<Shared>,
    Path(name): Path<String>,
) -> Response<Body> {
    of(ports.policies.act(name, PolicyAction::Remove).await)
}

pub(crate) async fn act(
    State(ports): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    match json_of::<ActionBody>(&headers, &body) {
        Ok(ActionBody { action }) => of(ports.policies.act(name, action).await),
        Err(problem) => problem.into_response(),
    }
}

pub(crate) async fn ask(
    State(ports): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    match json_of::<Value>(&headers, &body) {
        Ok(question) => of(ports.policies.ask(name, question).await),
        Err(problem) => problem.into_response(),
    }
}

pub(crate) async fn decisions(
    State(ports): State<Shared>,
    Path(name): Path<String>,
    uri: Uri,
) -> Response<Body> {
    let query: DecisionsQuery = match query_of(&uri) {
        Ok(query) => query,
        Err(problem) => return problem.into_response(),
    };
    let is_frames = query.format == Some(DecisionsFormat::Frames);
    let usual = if is_frames { RUNS_MAX } else { RUNS_SHOWN };
    let limit = query.limit.unwrap_or(usual).min(RUNS_MAX);
    match ports.policies.decisions(name, limit).await {
        Ok(runs) if is_frames => {
            let media = HeaderValue::from_static("application/octet-stream");
            let mut response = Response::new(Body::from(runs.frames));
            response.headers_mut().insert(header::CONTENT_TYPE, media);
            response
        }
        Ok(runs) => answer(&serde_json::json!({ "runs": runs.shown })),
        Err(failure) => Problem::new(failure.kind, failure.detail).into_response(),
    }
}

/// Reads a body that says that it is JSON.
pub(crate) fn json_of<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !media.is_some_and(|media| media.starts_with("application/json")) {
        let detail = "the body must be `application/json`, as the header `content-type` says";
        return Err(Problem::new(Kind::Malformed, detail));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(Kind::Malformed, format!("the body cannot be read: {error}")))
}

fn of(result: Result<Value, PolicyFailure>) -> Response<Body> {
    match result {
        Ok(value) => answer(&value),
        Err(failure) => Problem::new(failure.kind, failure.detail).into_response(),
    }
}

/// A value for people and programs.
pub(crate) fn answer(value: &Value) -> Response<Body> {
    json_response(serde_json::to_vec_pretty(value).unwrap_or_default())
}
