//! Owns error answers in the shape of OpenAI's interface.
//!
//! Refuses to know where an error came from. Bound: one text.

use axum::body::Body;
use axum::response::IntoResponse;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use truststram_base::Kind;
use utoipa::ToSchema;

use crate::ports::Failure;
use crate::predict::json_response;
use crate::problem::{Problem, RETRY_AFTER_S, status_of};

/// An error answer in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenAiError {
    /// What went wrong.
    error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What is wrong and what to do.
    message: String,
    /// `invalid_request_error` or `server_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The field that is wrong, if one is.
    param: Option<&'static str>,
    /// `model_not_found`, or nothing.
    code: Option<&'static str>,
}

/// An error answer with its status.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    body: OpenAiError,
}

impl Refusal {
    /// An error with this status.
    pub(crate) fn new(status: StatusCode, message: String) -> Self {
        let kind = if status.is_client_error() { "invalid_request_error" } else { "server_error" };
        let body = OpenAiError { error: ErrorBody { message, kind, param: None, code: None } };
        Self { status, body }
    }

    /// A request that is not right, because of the field `param` if that is known.
    pub(crate) fn bad(param: Option<&'static str>, message: String) -> Self {
        let mut refusal = Self::new(StatusCode::BAD_REQUEST, message);
        refusal.body.error.param = param;
        refusal
    }

    /// No model is called `name`.
    pub(crate) fn no_model(name: &str) -> Self {
        let shown: String = name.chars().take(64).collect();
        let message = format!("the model `{shown}` does not exist; GET /api/v1/models lists them");
        Self::unknown(message)
    }

    fn unknown(message: String) -> Self {
        let mut refusal = Self::new(StatusCode::NOT_FOUND, message);
        refusal.body.error.param = Some("model");
        refusal.body.error.code = Some("model_not_found");
        refusal
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.body.error.message
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure.kind() {
            Kind::NotFound => Self::unknown(message),
            Kind::Invalid => {
                let is_model = matches!(failure, Failure::Unsupported { .. });
                Self::bad(Some(if is_model { "model" } else { "input" }), message)
            }
            other => Self::new(status_of(other), message),
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).ok();
        let status = status.filter(|&status| status != status_of(Kind::Invalid));
        Self::new(status.unwrap_or(StatusCode::BAD_REQUEST), problem.detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        let mut response = json_response(serde_json::to_vec(&self.body).unwrap_or_default());
        *response.status_mut() = self.status;
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}
