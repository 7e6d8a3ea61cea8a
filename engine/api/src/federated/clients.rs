//! Owns what clients do besides sending updates: they enrol, say that they are there, ask for work.
//!
//! Refuses to know who gets work. Bound: a wait of [`WAIT_S_MAX`] seconds.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use truststram_base::Kind;
use utoipa::{IntoParams, ToSchema};

use super::{BODY_BYTES_MAX, Refused, answer, signed};
use crate::filters::{invalid, json};
use crate::ports::{FederatedTask, NewClient, Signed};
use crate::predict::is_media;
use crate::problem::Problem;
use crate::router::{Shared, query_of};
use crate::tensor::words;
use crate::versions::digest::of_hex;

const WAIT_S_MAX: u64 = 60;

/// A wait that a client asks for, in milliseconds.
pub(super) fn wait_ms(wait_s: u64) -> Result<u64, Problem> {
    match wait_s <= WAIT_S_MAX {
        true => Ok(1_000 * wait_s),
        false => Err(invalid("wait", format!("must be 0 to {WAIT_S_MAX}"))),
    }
}

/// A client that enrols.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolBody {
    /// Its Ed25519 public key, 64 hexadecimal digits; the request is signed with it.
    public_key: String,
    /// The token that lets it in; not needed where the key is known.
    token: Option<String>,
    /// Examples that it has.
    samples: u64,
    /// Processor cores.
    #[serde(default = "one")]
    cpu_cores: f32,
    /// Memory in GiB.
    #[serde(default = "one")]
    memory_gib: f32,
}

fn one() -> f32 {
    1.0
}

/// The number of a client.
#[derive(Serialize, ToSchema)]
pub(crate) struct EnrolledResponse {
    /// It goes into `x-fl-client` and into paths.
    client: u32,
}

/// How long to wait.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaskQuery {
    /// Seconds to wait for a task, 0 to 60.
    wait: u64,
}

/// Reads a small body of JSON with its signature.
pub(super) async fn read<T: DeserializeOwned>(
    request: Request<Body>,
) -> Result<(Signed, T), Problem> {
    read_within(request, BODY_BYTES_MAX).await
}

/// The same of at most so many bytes.
pub(super) async fn read_within<T: DeserializeOwned>(
    request: Request<Body>,
    bytes_max: usize,
) -> Result<(Signed, T), Problem> {
    if !is_media(&request, "application/json") {
        let detail = "send this with `content-type: application/json`";
        return Err(Problem::media_type(detail));
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, bytes_max).await.map_err(|_| {
        let detail = format!("the body is larger than the limit of {bytes_max} bytes");
        Problem::new(Kind::TooLarge, detail)
    })?;
    let signed = signed::of_whole(&parts, &body)?;
    let read = serde_json::from_slice(&body).map_err(|error| {
        let kind = if error.is_data() { Kind::Invalid } else { Kind::Malformed };
        Problem::new(kind, format!("the body cannot be read: {}", words(&error)))
    })?;
    Ok((signed, read))
}

/// Enrol a client with a token, or again with a key that is known.
#[utoipa::path(post, path = "/api/v1/fl/clients", operation_id = "enrol_client",
    tag = "federated learning", request_body = EnrolBody,
    responses((status = 201, description = "It has a number", body = EnrolledResponse), Refused))]
pub(crate) async fn enrol(State(ports): State<Shared>, request: Request<Body>) -> Response<Body> {
    let enrolled = async {
        let (signed, body) = read::<EnrolBody>(request).await?;
        let key = of_hex(&body.public_key);
        let new = NewClient {
            public_key: key
                .ok_or_else(|| invalid("public_key", "must be 64 hexadecimal digits"))?,
            token: body.token,
            samples: body.samples,
            cpu_cores: body.cpu_cores,
            memory_gib: body.memory_gib,
        };
        let client = ports.federated.enrol(signed, new).await?;
        let mut response = json(&EnrolledResponse { client });
        *response.status_mut() = StatusCode::CREATED;
        Ok(response)
    };
    answer(enrolled.await)
}

/// Say that a client is there, so that it is asked.
#[utoipa::path(post, path = "/api/v1/fl/clients/{client}/heartbeat",
    operation_id = "client_heartbeat", tag = "federated learning",
    params(("client" = u32, Path, description = "The client's number")),
    responses((status = 204, description = "It is noted"), Refused))]
pub(crate) async fn heartbeat(
    State(ports): State<Shared>,
    Path(client): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let noted = async {
        let (parts, _) = request.into_parts();
        let signed = signed::of_head(&parts)?;
        signed::is_of(&signed, &client)?;
        ports.federated.heartbeat(signed).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    answer(noted.await)
}

/// Ask for a task, and wait for one.
#[utoipa::path(get, path = "/api/v1/fl/clients/{client}/task", operation_id = "client_task",
    tag = "federated learning",
    params(("client" = u32, Path, description = "The client's number"), TaskQuery),
    responses(
        (status = 200, description = "What to do", body = FederatedTask),
        (status = 204, description = "Nothing yet; ask again"),
        Refused,
    ))]
pub(crate) async fn task(
    State(ports): State<Shared>,
    Path(client): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let asked = async {
        let (parts, _) = request.into_parts();
        let query: TaskQuery = query_of(&parts.uri)?;
        let wait_ms = wait_ms(query.wait)?;
        let signed = signed::of_head(&parts)?;
        signed::is_of(&signed, &client)?;
        Ok(match ports.federated.task(signed, wait_ms).await? {
            Some(task) => json(&task),
            None => StatusCode::NO_CONTENT.into_response(),
        })
    };
    answer(asked.await)
}
