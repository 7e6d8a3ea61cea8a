//! Owns the ways in which an update arrives: whole as a body, or in parts that survive a broken
//! connection.
//!
//! Refuses to look into it. Bound: chunks pass through one by one.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use futures_util::StreamExt;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use truststram_base::Kind;
use utoipa::{IntoParams, ToSchema};

use super::clients::read;
use super::{Refused, answer, signed};
use crate::filters::{invalid, json};
use crate::ports::{ArtifactChunks, FederatedFailure, ModelFailure, UpdateClaim, UpdateReceipt};
use crate::predict::is_media;
use crate::problem::Problem;
use crate::router::{Shared, query_of};
use crate::versions::digest::of_hex;

const OFFSET: &str = "upload-offset";

/// What is said of an update.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UpdateQuery {
    /// Examples that it was trained on.
    examples: f64,
    /// The mean loss of the training.
    loss: Option<f32>,
}

/// What has become of an update.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReceiptResponse {
    /// The task.
    task: u64,
    /// `accepted`, or `again` where the same was accepted before.
    receipt: &'static str,
}

/// An upload in parts.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UploadBody {
    /// Its size.
    bytes: u64,
    /// Its SHA-256, 64 hexadecimal digits.
    sha256: String,
}

/// How much of an upload is there.
#[derive(Serialize, ToSchema)]
pub(crate) struct OffsetResponse {
    /// Bytes; also in the header `upload-offset`.
    offset: u64,
}

pub(super) fn task_of(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::new(Kind::NotFound, "there is no such task"))
}

fn claim(task: u64, parts: &Parts) -> Result<UpdateClaim, Problem> {
    let UpdateQuery { examples, loss } = query_of(&parts.uri)?;
    Ok(UpdateClaim { task, examples, train_loss: loss })
}

fn chunks(body: Body) -> ArtifactChunks {
    let failed = |error| {
        let detail = format!("the body ended early: {error}");
        ModelFailure { kind: Kind::Malformed, detail }
    };
    body.into_data_stream().map(move |chunk| chunk.map_err(failed)).boxed()
}

fn is_binary(request: &Request<Body>, media: &str) -> Result<(), Problem> {
    match is_media(request, media) {
        true => Ok(()),
        false => Err(Problem::media_type(&format!("send this with `content-type: {media}`"))),
    }
}

pub(super) fn receipt(task: u64, receipt: UpdateReceipt) -> Response<Body> {
    let receipt = match receipt {
        UpdateReceipt::Accepted => "accepted",
        UpdateReceipt::Again => "again",
    };
    let mut response = json(&ReceiptResponse { task, receipt });
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn with_offset(mut response: Response<Body>, offset: u64) -> Response<Body> {
    response.headers_mut().insert(OFFSET, HeaderValue::from(offset));
    response
}

/// An answer about an upload; a failure says how much is there, where it knows.
fn of_upload(result: Result<Response<Body>, UploadFailure>) -> Response<Body> {
    result.unwrap_or_else(|failure| {
        let response = failure.problem.into_response();
        match failure.offset {
            Some(offset) => with_offset(response, offset),
            None => response,
        }
    })
}

struct UploadFailure {
    problem: Problem,
    offset: Option<u64>,
}

impl From<Problem> for UploadFailure {
    fn from(problem: Problem) -> Self {
        Self { problem, offset: None }
    }
}

impl From<FederatedFailure> for UploadFailure {
    fn from(failure: FederatedFailure) -> Self {
        Self { offset: failure.offset, problem: failure.into() }
    }
}

/// Send the update of a task: a safetensors file. The same may be sent again.
#[utoipa::path(post, path = "/api/v1/fl/tasks/{task}/updates", operation_id = "send_update",
    tag = "federated learning",
    params(("task" = u64, Path, description = "The task"), UpdateQuery),
    request_body(description = "The update", content((Vec<u8> = "application/octet-stream"))),
    responses((status = 202, description = "It counts", body = ReceiptResponse), Refused))]
pub(crate) async fn update(
    State(ports): State<Shared>,
    Path(task): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let sent = async {
        is_binary(&request, "application/octet-stream")?;
        let (parts, body) = request.into_parts();
        let task = task_of(&task)?;
        let signed = signed::of_head(&parts)?;
        let claim = claim(task, &parts)?;
        Ok(receipt(task, ports.federated.update(signed, claim, chunks(body)).await?))
    };
    answer(sent.await)
}

/// Begin an upload in parts, or go on with it.
#[utoipa::path(post, path = "/api/v1/fl/tasks/{task}/upload", operation_id = "open_upload",
    tag = "federated learning", params(("task" = u64, Path, description = "The task")),
    request_body = UploadBody,
    responses(
        (status = 201, description = "Send the rest from there on", body = OffsetResponse),
        Refused,
    ))]
pub(crate) async fn open_upload(
    State(ports): State<Shared>,
    Path(task): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let opened = async {
        let task = task_of(&task)?;
        let (signed, UploadBody { bytes, sha256 }) = read(request).await?;
        let sha256 =
            of_hex(&sha256).ok_or_else(|| invalid("sha256", "must be 64 hexadecimal digits"))?;
        let offset = ports.federated.open_upload(signed, task, bytes, sha256).await?;
        let mut response = json(&OffsetResponse { offset });
        *response.status_mut() = StatusCode::CREATED;
        Ok(with_offset(response, offset))
    };
    of_upload(opened.await)
}

/// Show how much of an upload is there.
#[utoipa::path(get, path = "/api/v1/fl/tasks/{task}/upload", operation_id = "upload_offset",
    tag = "federated learning", params(("task" = u64, Path, description = "The task")),
    responses((status = 200, description = "So much", body = OffsetResponse), Refused))]
pub(crate) async fn offset(
    State(ports): State<Shared>,
    Path(task): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let found = async {
        let (parts, _) = request.into_parts();
        let signed = signed::of_head(&parts)?;
        let offset = ports.federated.upload_offset(signed, task_of(&task)?).await?;
        Ok(with_offset(json(&OffsetResponse { offset }), offset))
    };
    of_upload(found.await)
}

/// Add a part to an upload, at the place that `upload-offset` names.
#[utoipa::path(patch, path = "/api/v1/fl/tasks/{task}/upload", operation_id = "append_upload",
    tag = "federated learning",
    params(
        ("task" = u64, Path, description = "The task"),
        ("upload-offset" = u64, Header, description = "How much is there already"),
    ),
    request_body(description = "The part", content(
        (Vec<u8> = "application/offset+octet-stream"),
    )),
    responses((status = 204, description = "It is there; see `upload-offset`"), Refused))]
pub(crate) async fn append(
    State(ports): State<Shared>,
    Path(task): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let added = async {
        is_binary(&request, "application/offset+octet-stream")?;
        let (parts, body) = request.into_parts();
        let signed = signed::of_head(&parts)?;
        let offset = parts.headers.get(OFFSET).and_then(|value| value.to_str().ok()?.parse().ok());
        let offset = offset.ok_or_else(|| invalid(OFFSET, "must be a number of bytes"))?;
        let task = task_of(&task)?;
        let offset = ports.federated.append(signed, task, offset, chunks(body)).await?;
        Ok(with_offset(StatusCode::NO_CONTENT.into_response(), offset))
    };
    of_upload(added.await)
}

/// Take an upload that is all there as the update of its task.
#[utoipa::path(post, path = "/api/v1/fl/tasks/{task}/upload/commit",
    operation_id = "commit_upload", tag = "federated learning",
    params(("task" = u64, Path, description = "The task"), UpdateQuery),
    responses((status = 202, description = "It counts", body = ReceiptResponse), Refused))]
pub(crate) async fn commit(
    State(ports): State<Shared>,
    Path(task): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let taken = async {
        let (parts, _) = request.into_parts();
        let signed = signed::of_head(&parts)?;
        let task = task_of(&task)?;
        Ok(receipt(task, ports.federated.commit(signed, claim(task, &parts)?).await?))
    };
    of_upload(taken.await)
}
