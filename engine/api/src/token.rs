//! Owns `/auth/token` and `/.well-known/jwks.json`: an API key is exchanged for a token that soon
//! ends, so that the key itself stays at home; anybody may verify it.
//!
//! Refuses to know how tokens are made. Bound: one token per call.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use truststram_base::{Credential, Identity, Kind};
use utoipa::ToSchema;

use crate::policies::json_of;
use crate::ports::TokenAsk;
use crate::predict::json_response;
use crate::problem::Problem;
use crate::router::Shared;

/// A token (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenAnswer {
    /// The token, to be presented as `Authorization: Bearer`.
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds for which it is good.
    expires_in: u32,
    /// What it may do, by name, with spaces between.
    scope: String,
}

/// Exchange an API key for a token.
#[utoipa::path(post, path = "/auth/token", tag = "access", operation_id = "token",
    request_body(content = Option<TokenAsk>, description = "What the token may do; all that the \
        key may, where nothing is said"),
    responses(
        (status = 200, description = "A token; it ends early when its key is revoked",
            body = TokenAnswer),
        (status = 400, description = "The body cannot be read", body = Problem),
        (status = 401, description = "No API key, or none that is good", body = Problem),
        (status = 403, description = "Another credential than an API key", body = Problem),
        (status = 422, description = "More than the key may do", body = Problem),
    ))]
pub(crate) async fn give(
    State(ports): State<Shared>,
    identity: Option<Extension<Arc<Identity>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let Some(Extension(identity)) = identity else {
        let detail = "an API key is needed: `Authorization: Bearer ...` or `X-API-Key`";
        return Problem::new(Kind::Denied, detail).into_response();
    };
    if identity.by != Credential::Key {
        let detail = "a token is given for an API key alone, and this is another credential";
        let status = StatusCode::FORBIDDEN;
        let problem = Problem::of_status(status, "forbidden", "Forbidden", detail.to_owned());
        return problem.into_response();
    }
    let ask = if body.is_empty() { Ok(TokenAsk::default()) } else { json_of(&headers, &body) };
    let ask = match ask {
        Ok(ask) => ask,
        Err(problem) => return problem.into_response(),
    };
    match ports.keys.token(&identity, &ask) {
        Ok(given) => {
            let answer = TokenAnswer {
                access_token: given.text,
                token_type: "Bearer",
                expires_in: given.ttl_s,
                scope: given.scopes.to_string(),
            };
            let mut response = json_response(serde_json::to_vec(&answer).unwrap_or_default());
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, no_store);
            response
        }
        Err(failure) => Problem::new(failure.kind, failure.detail).into_response(),
    }
}

/// The public keys that tokens are verified with (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "access", operation_id = "jwks",
    responses((status = 200, description = "A JWK set", body = serde_json::Value)))]
pub(crate) async fn jwks(State(ports): State<Shared>) -> Response<Body> {
    json_response(serde_json::to_vec(&ports.keys.jwks()).unwrap_or_default())
}
