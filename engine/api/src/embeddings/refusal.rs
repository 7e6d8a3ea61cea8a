//! Owns error answers in the shape of OpenAI's interface.
//!
//! Refuses to know where an error came from. Bound: one text.

use axum::body::Body;
use axum::response::IntoResponse;
use http::{Response, StatusCode};
use serde::Serialize;
use truststram_base::Kind;
use utoipa::ToSchema;

use crate::ports::Failure;
use crate::problem::{self, Problem};

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

    /// A request that is not right.
    pub(crate) fn bad(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The same, because of the field `param`.
    pub(crate) fn of_param(mut self, param: &'static str) -> Self {
        self.body.error.param = Some(param);
        self
    }

    /// No model is called `name`.
    pub(crate) fn no_model(name: &str) -> Self {
        let shown: String = name.chars().take(64).collect();
        let message = format!("the model `{shown}` does not exist; GET /api/v1/models lists them");
        Self::new(StatusCode::NOT_FOUND, message).of_unknown_model()
    }

    fn of_unknown_model(mut self) -> Self {
        self.body.error.code = Some("model_not_found");
        self.of_param("model")
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.body.error.message
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let kind = failure.kind();
        let is_model = matches!(failure, Failure::Unsupported { .. });
        let refusal = Self::from(Problem::from(failure));
        match kind {
            Kind::NotFound => refusal.of_unknown_model(),
            Kind::Invalid => refusal.of_param(if is_model { "model" } else { "input" }),
            _ => refusal,
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::new(problem.status_of_protocols(), problem.detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        problem::response(self.status, "application/json", &self.body)
    }
}
