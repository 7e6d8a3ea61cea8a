//! Owns the small public pages: health checks, the OpenAPI document and its reader.
//!
//! Refuses to know how checks are made. Liveness asks nothing of anybody, as a restart would not
//! mend a dependency. Bound: constant answers but for `/readyz`.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::json;

use crate::openapi;
use crate::predict::json_response;
use crate::problem;
use crate::router::Shared;

const DOCS: &str = include_str!("docs.html");
const DOCS_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";

static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(openapi::document()));

/// Whether the process answers at all.
#[utoipa::path(get, path = "/livez", tag = "health",
    responses((status = 200, description = "The process answers")))]
pub(crate) async fn livez() -> Response<Body> {
    json_response(br#"{"status":"ok"}"#.to_vec())
}

/// Whether requests should be sent here.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "Every check passes"),
        (status = 503, description = "A check fails; `checks` names it"),
    ))]
pub(crate) async fn readyz(State(ports): State<Shared>) -> Response<Body> {
    let checks = ports.operate.readiness();
    let ready = checks.values().all(Result::is_ok);
    let shown: serde_json::Map<_, _> = checks
        .into_iter()
        .map(|(name, result)| {
            (name.to_owned(), json!(result.map_or_else(|why| why, |()| "ok".to_owned())))
        })
        .collect();
    let status = if ready { "ok" } else { "not ready" };
    let body = json!({ "status": status, "checks": shown });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    problem::response(status, "application/json", &body)
}

/// The OpenAPI document, to be read by programs.
pub(crate) async fn openapi_json() -> Response<Body> {
    let mut response = Response::new(Body::from(OPENAPI.clone()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The OpenAPI document, to be read by people; it loads nothing from elsewhere.
pub(crate) async fn docs(_request: Request<Body>) -> Response<Body> {
    let mut response = Response::new(Body::from(DOCS));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
    response
}
