//! Owns `POST /v2/models/{model}/infer`: tensors in, tensors out.
//!
//! Refuses to know how they are computed. Bound: the body by the gateway.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{Request, Response};

use super::encoding::{self, Encoding};
use super::refusal::{Refusal, Target, from_this_site};
use super::request::{self, InferBody};
use super::response::{self, InferResponse};
use crate::options::{self, Haste};
use crate::predict::{body_of, request_id, server_timing};
use crate::router::{Ports, Shared};

/// Run the active version of a model on tensors.
#[utoipa::path(post, path = "/v2/models/{model}/infer",
    operation_id = "v2_infer", tag = "inference protocol",
    params(
        ("model" = String, Path, description = "The model's id"),
        ("inference-header-content-length" = Option<usize>, Header,
         description = "The bytes of the JSON object where the bytes of tensors follow it"),
        Haste,
    ),
    request_body = InferBody<'_>,
    responses(
        (status = 200, description = "What was computed; bytes of tensors follow the JSON object \
         where they were asked for", content(
             (InferResponse = "application/json"),
             (Vec<u8> = "application/octet-stream"),
         )),
        (status = 400, description = "The request is not right", body = Refusal),
        (status = 403, description = "A page of another site asks", body = Refusal),
        (status = 404, description = "No such model", body = Refusal),
        (status = 413, description = "The body is larger than the limit", body = Refusal),
        (status = 415, description = "The encoding of the body is not known", body = Refusal),
        (status = 503, description = "A queue is full; see Retry-After", body = Refusal),
        (status = 504, description = "No answer within the deadline", body = Refusal),
    ))]
pub(crate) async fn infer(
    State(ports): State<Shared>,
    target: Target,
    request: Request<Body>,
) -> Response<Body> {
    answer(&ports, target, request).await.unwrap_or_else(IntoResponse::into_response)
}

/// Run a version of a model on tensors.
#[utoipa::path(post, path = "/v2/models/{model}/versions/{version}/infer",
    operation_id = "v2_infer_version", tag = "inference protocol",
    params(
        ("model" = String, Path, description = "The model's id"),
        ("version" = u32, Path, description = "The version"),
        ("inference-header-content-length" = Option<usize>, Header,
         description = "The bytes of the JSON object where the bytes of tensors follow it"),
        Haste,
    ),
    request_body = InferBody<'_>,
    responses(
        (status = 200, description = "As without a version", content(
            (InferResponse = "application/json"),
            (Vec<u8> = "application/octet-stream"),
        )),
        (status = 400, description = "The request is not right", body = Refusal),
        (status = 403, description = "A page of another site asks", body = Refusal),
        (status = 404, description = "No such model or version", body = Refusal),
        (status = 413, description = "The body is larger than the limit", body = Refusal),
        (status = 415, description = "The encoding of the body is not known", body = Refusal),
        (status = 503, description = "A queue is full; see Retry-After", body = Refusal),
        (status = 504, description = "No answer within the deadline", body = Refusal),
    ))]
pub(crate) async fn infer_version(
    State(ports): State<Shared>,
    target: Target,
    request: Request<Body>,
) -> Response<Body> {
    answer(&ports, target, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(
    ports: &Ports,
    target: Target,
    request: Request<Body>,
) -> Result<Response<Body>, Refusal> {
    let id = request_id(&request);
    let (Parts { headers, .. }, body) = request.into_parts();
    from_this_site(&headers)?;
    let haste = options::haste(&headers)?;
    let packed = Encoding::wanted(&headers);
    let body = encoding::plain(body_of(body).await?, &headers)?;
    let model = target.model.clone();
    let (ask, form) = request::read(body, &headers, target, id, haste)?;
    let answer = ports.tensors.infer(ask).await?;
    let (queue_us, compute_us) = (answer.queue_us, answer.compute_us);
    let mut response = response::write(&model, &form, answer, packed)?;
    if ports.server_timing {
        server_timing(&mut response, queue_us, compute_us);
    }
    Ok(response)
}
