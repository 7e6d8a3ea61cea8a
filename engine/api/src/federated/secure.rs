//! Owns the steps of a client in a round of secure aggregation, besides its update.
//!
//! Refuses to understand what is sent: the federation does. Bound: JSON of [`MESSAGE_BYTES_MAX`], a
//! wait of [`wait_ms`].

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::clients::{read_within, wait_ms};
use super::updates::{ReceiptResponse, receipt, task_of};
use super::{Refused, answer, signed};
use crate::filters::json;
use crate::ports::{SecureMessage, SecureRound, SecureStep};
use crate::router::{Shared, query_of};

/// Shares for 254 others are the largest message.
const MESSAGE_BYTES_MAX: usize = 128 << 10;

/// Which step is known, and how long to wait for the next one.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct StepQuery {
    /// The step that the client has done; none at first.
    after: Option<SecureStep>,
    /// Seconds to wait for a later one, 0 to 60.
    wait: u64,
}

/// Show how far a round of secure aggregation is, and wait until it is further.
#[utoipa::path(get, path = "/api/v1/fl/tasks/{task}/secure", operation_id = "secure_round",
    tag = "federated learning",
    params(("task" = u64, Path, description = "The task"), StepQuery),
    responses(
        (status = 200, description = "What the client is asked for", body = SecureRound),
        (status = 204, description = "No further yet; ask again"),
        Refused,
    ))]
pub(crate) async fn show(
    State(ports): State<Shared>,
    Path(task): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let shown = async {
        let (parts, _) = request.into_parts();
        let StepQuery { after, wait } = query_of(&parts.uri)?;
        let wait_ms = wait_ms(wait)?;
        let signed = signed::of_head(&parts)?;
        let round = ports.federated.secure_round(signed, task_of(&task)?, after, wait_ms);
        Ok(match round.await? {
            Some(round) => json(&round),
            None => StatusCode::NO_CONTENT.into_response(),
        })
    };
    answer(shown.await)
}

/// Send what a step of secure aggregation asks for. The same may be sent again.
#[utoipa::path(post, path = "/api/v1/fl/tasks/{task}/secure", operation_id = "secure_message",
    tag = "federated learning", params(("task" = u64, Path, description = "The task")),
    request_body = SecureMessage,
    responses((status = 202, description = "It is kept", body = ReceiptResponse), Refused))]
pub(crate) async fn send(
    State(ports): State<Shared>,
    Path(task): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let sent = async {
        let task = task_of(&task)?;
        let (signed, message) = read_within(request, MESSAGE_BYTES_MAX).await?;
        Ok(receipt(task, ports.federated.secure_message(signed, task, message).await?))
    };
    answer(sent.await)
}
