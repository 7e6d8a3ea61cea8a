//! Owns `/api/v1/training/jobs`: models trained here on data sets of the store; jobs made, shown,
//! watched, ended and gone on with.
//!
//! Refuses to know what a description holds, besides whether its model is to answer at once. Bound:
//! bodies by [`SPEC_BYTES_MAX`].

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::{HeaderValue, Request, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};
use truststram_base::{Identity, Kind, Scope, Scopes};
use utoipa::{IntoResponses, ToSchema};

use crate::filters::json;
use crate::ports::{ModelFailure, TrainingJob};
use crate::problem::Problem;
use crate::router::Shared;
use crate::sse;
use crate::versions::{NoBody, read_within};

/// Longest description of a job.
const SPEC_BYTES_MAX: usize = 32 << 10;
/// A report runs nothing and loads nothing.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The routes.
pub(crate) fn routes() -> Router<Shared> {
    let job = "/api/v1/training/jobs/{job}";
    let below = |action: &str| format!("{job}/{action}");
    Router::new()
        .route("/api/v1/training/jobs", get(list).post(create))
        .route(job, get(show))
        .route(&below("events"), get(events))
        .route(&below("report"), get(report))
        .route(&below("cancel"), post(cancel))
        .route(&below("resume"), post(resume))
}

/// All jobs.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobsResponse {
    /// The newest first.
    jobs: Vec<TrainingJob>,
}

/// What a request for a job can end in besides its answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes what the handlers and the jobs answer")]
enum Refused {
    /// The body is not JSON.
    #[response(status = 400)]
    Malformed(Problem),
    /// There is no such job, data set, model or version.
    #[response(status = 404)]
    NotFound(Problem),
    /// The job's state does not allow it.
    #[response(status = 409)]
    Conflict(Problem),
    /// The description is too long.
    #[response(status = 413)]
    TooLarge(Problem),
    /// The body is not called JSON.
    #[response(status = 415)]
    MediaType(Problem),
    /// A value is not acceptable.
    #[response(status = 422)]
    Invalid(Problem),
    /// Training is off, or too many jobs wait; see Retry-After.
    #[response(status = 503)]
    Unavailable(Problem),
    /// The disk is full.
    #[response(status = 507)]
    NoSpace(Problem),
}

fn of(result: Result<TrainingJob, ModelFailure>) -> Response<Body> {
    match result {
        Ok(job) => json(&job),
        Err(failure) => Problem::from(failure).into_response(),
    }
}

/// The number of a job; what is no number names no job.
fn number(name: &str) -> Result<u64, Problem> {
    name.parse().map_err(|_| {
        let detail = format!("there is no job `{name}`; GET /api/v1/training/jobs lists them");
        Problem::new(Kind::NotFound, detail)
    })
}

/// Train a model on a data set of the store, as soon as a trainer is free.
///
/// The body is what `truststram train` reads as TOML: `dataset` and `model` name what it is trained
/// on and what it becomes a version of; `train` says how. A data set of texts trains the registered
/// encoder that `base` names further, or an encoder from nothing. With `activate` the version
/// answers at once, which takes the scope `models:write` as well.
#[utoipa::path(post, path = "/api/v1/training/jobs",
    operation_id = "create_training_job", tag = "training",
    request_body(content = serde_json::Value, description = "The description"),
    responses((status = 201, description = "It is queued", body = TrainingJob), Refused))]
pub(crate) async fn create(State(ports): State<Shared>, request: Request<Body>) -> Response<Body> {
    let identity = request.extensions().get::<Arc<Identity>>().cloned();
    let spec = match read_within::<Map<String, Value>>(request, SPEC_BYTES_MAX).await {
        Ok(spec) => spec,
        Err(problem) => return problem.into_response(),
    };
    let activates = spec.get("activate").is_some_and(|activate| activate != false);
    let writes = Scopes::of(&[Scope::ModelsWrite]);
    if activates && identity.is_some_and(|known| known.scopes.and(writes).is_empty()) {
        let detail = "`activate` takes the scope `models:write`; leave it out, or use another key";
        let status = StatusCode::FORBIDDEN;
        let problem = Problem::of_status(status, "forbidden", "Forbidden", detail.to_owned());
        return problem.into_response();
    }
    match ports.training.create(Value::Object(spec)).await {
        Ok(job) => {
            let mut response = json(&job);
            *response.status_mut() = StatusCode::CREATED;
            let place = format!("/api/v1/training/jobs/{}", job.id);
            if let Ok(place) = HeaderValue::from_str(&place) {
                response.headers_mut().insert(header::LOCATION, place);
            }
            response
        }
        Err(failure) => Problem::from(failure).into_response(),
    }
}

/// List the training jobs.
#[utoipa::path(get, path = "/api/v1/training/jobs",
    operation_id = "list_training_jobs", tag = "training",
    responses((status = 200, description = "All that are kept", body = JobsResponse)))]
pub(crate) async fn list(State(ports): State<Shared>) -> Response<Body> {
    json(&JobsResponse { jobs: ports.training.list() })
}

/// Show a training job.
#[utoipa::path(get, path = "/api/v1/training/jobs/{job}",
    operation_id = "show_training_job", tag = "training",
    params(("job" = u64, Path, description = "The job's number")),
    responses(
        (status = 200, description = "The job", body = TrainingJob),
        (status = 404, description = "No such job", body = Problem),
        (status = 503, description = "Training is off", body = Problem),
    ))]
pub(crate) async fn show(State(ports): State<Shared>, Path(job): Path<String>) -> Response<Body> {
    match number(&job) {
        Ok(job) => of(ports.training.job(job)),
        Err(problem) => problem.into_response(),
    }
}

/// Watch a training job, as server-sent events, until it is over.
#[utoipa::path(get, path = "/api/v1/training/jobs/{job}/events",
    operation_id = "watch_training_job", tag = "training",
    params(("job" = u64, Path, description = "The job's number")),
    responses(
        (status = 200, description = "`job` first, then `texts`, `step`, `epoch`, `checkpoint`, \
         `batch_size`, `state`", content((String = "text/event-stream"))),
        (status = 404, description = "No such job", body = Problem),
        (status = 503, description = "Training is off, or too many watch; see Retry-After",
         body = Problem),
    ))]
pub(crate) async fn events(State(ports): State<Shared>, Path(job): Path<String>) -> Response<Body> {
    let events = number(&job)
        .and_then(|job| ports.training.events(job).map_err(Problem::from))
        .map(sse::answer);
    events.unwrap_or_else(IntoResponse::into_response)
}

/// Read the report of a training job that is done: curves, confusion matrix, model card.
#[utoipa::path(get, path = "/api/v1/training/jobs/{job}/report",
    operation_id = "report_training_job", tag = "training",
    params(("job" = u64, Path, description = "The job's number")),
    responses(
        (status = 200, description = "A page that loads nothing from elsewhere",
         content((String = "text/html; charset=utf-8"))),
        Refused,
    ))]
pub(crate) async fn report(State(ports): State<Shared>, Path(job): Path<String>) -> Response<Body> {
    let page = match number(&job) {
        Ok(job) => ports.training.report(job).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match page {
        Ok(page) => {
            let mut response = Response::new(Body::from(page));
            let headers = response.headers_mut();
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            headers.insert(header::CONTENT_TYPE, html);
            let policy = HeaderValue::from_static(REPORT_POLICY);
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// End a training job, after its present step and with a checkpoint. Takes an empty JSON body.
#[utoipa::path(post, path = "/api/v1/training/jobs/{job}/cancel",
    operation_id = "cancel_training_job", tag = "training",
    params(("job" = u64, Path, description = "The job's number")),
    responses(
        (status = 200, description = "It is over, or will be in a moment", body = TrainingJob),
        Refused,
    ))]
pub(crate) async fn cancel(
    State(ports): State<Shared>,
    Path(job): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    match asked(&job, request).await {
        Ok(job) => of(ports.training.cancel(job).await),
        Err(problem) => problem.into_response(),
    }
}

/// Have a training job that was cancelled or failed go on from its checkpoint. Takes an empty JSON
/// body.
#[utoipa::path(post, path = "/api/v1/training/jobs/{job}/resume",
    operation_id = "resume_training_job", tag = "training",
    params(("job" = u64, Path, description = "The job's number")),
    responses((status = 200, description = "It is queued", body = TrainingJob), Refused))]
pub(crate) async fn resume(
    State(ports): State<Shared>,
    Path(job): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    match asked(&job, request).await {
        Ok(job) => of(ports.training.resume(job).await),
        Err(problem) => problem.into_response(),
    }
}

/// The job that something is to be done to. A body that is called JSON says that no page in
/// somebody's browser has sent it.
async fn asked(job: &str, request: Request<Body>) -> Result<u64, Problem> {
    read_within::<NoBody>(request, SPEC_BYTES_MAX).await?;
    number(job)
}
