//! Owns error answers: RFC 9457 problem documents, and the one table from [`Kind`] to status.
//!
//! Refuses to know where an error came from. Bound: at most [`ERRORS_MAX`] field errors in one
//! document.

use axum::body::Body;
use axum::response::IntoResponse;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use truststram_base::Kind;
use utoipa::ToSchema;

use crate::ports::{Failure, ModelFailure};
use crate::tensor::Fault;

/// Most field errors that one document lists.
pub(crate) const ERRORS_MAX: usize = 16;

/// How long a client should wait after a full queue, in seconds.
const RETRY_AFTER_S: u32 = 1;

/// One value that is not acceptable.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FieldError {
    /// The row, where the body is a list of rows; counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
    /// The field, for example `data`.
    pub field: String,
    /// The position in the field, where it is a list; counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// What is wrong and what is expected.
    pub message: String,
}

impl FieldError {
    /// A field that is wrong as a whole.
    pub fn new(field: &str, message: impl Into<String>) -> Self {
        Self { row: None, field: field.to_owned(), index: None, message: message.into() }
    }
}

/// An error answer, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// A stable name of the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:truststram:problem:invalid")]
    pub type_uri: String,
    /// The kind of problem in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The byte offset at which a body stops being JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
    /// Each value that is not acceptable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// Status, name and title of each kind of error.
fn table(kind: Kind) -> (StatusCode, &'static str, &'static str) {
    match kind {
        Kind::Malformed => (StatusCode::BAD_REQUEST, "malformed", "Malformed request"),
        Kind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Invalid value"),
        Kind::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
        Kind::Denied => (StatusCode::UNAUTHORIZED, "denied", "Not let in"),
        Kind::Gone => (StatusCode::GONE, "gone", "Gone"),
        Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large"),
        Kind::Conflict => (StatusCode::CONFLICT, "conflict", "Conflict"),
        Kind::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Overloaded"),
        Kind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "deadline", "Deadline passed"),
        Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable"),
        Kind::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "no-space", "Disk full"),
        Kind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "corrupt", "Damaged data"),
        Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
    }
}

/// An answer that may be an error, in any form: its status, `Retry-After` where that helps, and the
/// body as JSON.
pub(crate) fn response(
    status: StatusCode,
    media: &'static str,
    body: &impl Serialize,
) -> Response<Body> {
    // Texts and numbers always serialise.
    let mut response = Response::new(Body::from(serde_json::to_vec(body).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    }
    response
}

impl Problem {
    /// A problem of `kind`; `detail` says what happened and what to do.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (status, name, title) = table(kind);
        Self {
            type_uri: format!("urn:truststram:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            offset: None,
            errors: Vec::new(),
        }
    }

    /// A problem that no error kind stands for, such as a wrong method.
    pub(crate) fn of_status(
        status: StatusCode,
        name: &str,
        title: &'static str,
        detail: String,
    ) -> Self {
        let type_uri = format!("urn:truststram:problem:{name}");
        let status = status.as_u16();
        Self { type_uri, title, status, detail, offset: None, errors: Vec::new() }
    }

    /// The status of the answer.
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The status in protocols that have one, 400, for all that is wrong with a request.
    pub(crate) fn status_of_protocols(&self) -> StatusCode {
        match self.status_code() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            other => other,
        }
    }

    /// A body that is not of a type that is taken; `detail` says which are.
    pub(crate) fn media_type(detail: &str) -> Self {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::of_status(status, "media-type", "Unsupported media type", detail.to_owned())
    }

    /// A body that parses but holds unacceptable values; the first one is also the detail.
    pub(crate) fn invalid(mut errors: Vec<FieldError>) -> Self {
        let found = errors.len();
        errors.truncate(ERRORS_MAX);
        let detail = match errors.first() {
            None => "a value is not acceptable".to_owned(),
            Some(first) => {
                let place = match first.index {
                    Some(index) => format!("{}[{index}]", first.field),
                    None => first.field.clone(),
                };
                let row = first.row.map_or_else(String::new, |row| format!("row {row}: "));
                let more = match found {
                    1 => String::new(),
                    n => format!(" ({} more)", n - 1),
                };
                format!("{row}{place} {}{more}", first.message)
            }
        };
        Self { errors, ..Self::new(Kind::Invalid, detail) }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let detail = failure.to_string();
        match failure {
            Failure::FeatureCount { expected, found, .. } => {
                let message = format!("must hold {expected} numbers, found {found}");
                let errors = vec![FieldError::new("data", message)];
                Self { errors, ..Self::new(Kind::Invalid, detail) }
            }
            Failure::Input { place, reason } => {
                let errors = vec![FieldError::new(&place, reason)];
                Self { errors, ..Self::new(Kind::Invalid, detail) }
            }
            other => Self::new(other.kind(), detail),
        }
    }
}

impl From<ModelFailure> for Problem {
    fn from(failure: ModelFailure) -> Self {
        Self::new(failure.kind, failure.detail)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::invalid(vec![FieldError::new(&fault.place, fault.message)])
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        response(self.status_code(), "application/problem+json", &self)
    }
}

#[cfg(test)]
mod tests {
    use truststram_base::{ModelId, ModelVersion};

    use super::*;

    #[test]
    fn a_failure_means_the_same_in_every_form() {
        let model = || ModelId::new("m").unwrap();
        let reason = || "why".to_owned();
        let check = |failure: Failure, expected: u16| {
            let problem = Problem::from(failure.clone()).into_response();
            let oip = crate::oip::refusal::Refusal::from(failure.clone()).into_response();
            let openai = crate::embeddings::Refusal::from(failure).into_response();
            assert_eq!(problem.status(), expected);
            // Protocols have one status for all that is wrong with a request.
            let of_protocols = if expected == 422 { 400 } else { expected };
            for response in [&oip, &openai] {
                assert_eq!(response.status(), of_protocols);
                assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            }
            for response in [problem, oip, openai] {
                let has_retry = response.headers().contains_key(header::RETRY_AFTER);
                assert_eq!(has_retry, expected == 503);
            }
        };
        check(Failure::UnknownModel(model()), 404);
        check(Failure::UnknownVersion(model(), ModelVersion(2)), 404);
        check(Failure::FeatureCount { model: model(), expected: 2, found: 1 }, 422);
        check(Failure::Input { place: "inputs[0]".to_owned(), reason: reason() }, 422);
        check(Failure::Unsupported { model: model(), reason: reason() }, 422);
        check(Failure::OtherInput { model: model(), takes: "texts".to_owned() }, 422);
        check(Failure::NotReady { model: model(), reason: reason() }, 503);
        check(Failure::QueueFull("inference"), 503);
        check(Failure::Deadline(9), 504);
        check(Failure::Draining, 503);
        check(Failure::NoSpace, 507);
        check(Failure::Corrupt { reason: reason() }, 500);
        check(Failure::Internal { reason: reason() }, 500);
    }
}
