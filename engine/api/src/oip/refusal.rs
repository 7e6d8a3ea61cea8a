//! Owns error answers of the Open Inference Protocol, and what a path of it names.
//!
//! Refuses to know where an error came from. Bound: one text.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use truststram_base::{ModelId, ModelVersion};
use utoipa::ToSchema;

use crate::problem::{self, Problem};
use crate::target;

/// An error answer of the protocol.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    /// What is wrong and what to do.
    error: String,
}

impl Refusal {
    /// A refusal with this status.
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    /// A request that is not right; the text begins with the place.
    pub(crate) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// What is wrong.
    #[cfg(test)]
    pub(crate) fn error(&self) -> &str {
        &self.error
    }
}

impl<T: Into<Problem>> From<T> for Refusal {
    fn from(problem: T) -> Self {
        let problem = problem.into();
        Self::new(problem.status_of_protocols(), problem.detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        problem::response(self.status, "application/json", &self)
    }
}

/// The model that a path names, and the version if it names one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub model: ModelId,
    pub version: Option<ModelVersion>,
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let (model, version) = target::named(parts, state).await?;
        Ok(Self { model, version })
    }
}

/// Refuses what a page of another site sends: browsers name the site, programs name none.
pub(crate) fn from_this_site(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).map(HeaderValue::as_bytes);
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let authority = origin.split(|&byte| byte == b'/').next_back();
    if authority.is_some() && authority == text(header::HOST) {
        return Ok(());
    }
    let error = "a page of another site may not send this";
    Err(Refusal::new(StatusCode::FORBIDDEN, error))
}
