//! Owns whether a response may be stored (RFC 9111, 3), and what of it.
//!
//! Refuses to store. Bound: the headers of one exchange.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::directives::{Directives, Scope};
use super::freshness::{self, Lifetime, Now};
use crate::head::named_by_connection;

/// What a stored response says of its reuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    pub(crate) lifetime_s: u64,
    /// It is validated before every reuse.
    pub(crate) no_cache: bool,
    /// It is never reused when it is stale.
    pub(crate) must_revalidate: bool,
    pub(crate) stale_while_revalidate_s: Option<u64>,
    pub(crate) stale_if_error_s: Option<u64>,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unstorable {
    Method,
    Status,
    Request,
    Response,
    Authorization,
    /// It could never be reused.
    Useless,
}

impl Unstorable {
    /// Whether the response forbids it, so that what was stored before no longer holds.
    pub(crate) fn is_of_response(self) -> bool {
        matches!(self, Self::Response | Self::Useless)
    }
}

/// The directives of a response, and whether they are targeted at caches like this one.
fn directives_of(headers: &HeaderMap) -> (Directives, bool) {
    match Directives::targeted(headers) {
        Some(found) => (found, true),
        None => (Directives::of_response(headers), false),
    }
}

/// Statuses whose meaning for caches is known here (RFC 9111, 5.2.2.3).
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300..=303 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 428 | 429 | 431
            | 451
            | 500..=505 | 511
    )
}

/// Whether the response to this request may be stored, and its terms.
///
/// # Errors
/// The first rule that forbids it.
pub(crate) fn terms(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    default_lifetime: impl Fn(StatusCode) -> Option<u64>,
    now: Now,
) -> Result<Terms, Unstorable> {
    if *method != Method::GET {
        return Err(Unstorable::Method);
    }
    // Parts are not put together here; the others answer a condition or a range of one request.
    if status.is_informational() || matches!(status.as_u16(), 206 | 304 | 412 | 416 | 417) {
        return Err(Unstorable::Status);
    }
    let (directives, is_targeted) = directives_of(response);
    let is_understood = directives.must_understand && is_understood(status);
    if directives.must_understand && !is_understood {
        return Err(Unstorable::Response);
    }
    if Directives::of_request(request).no_store {
        return Err(Unstorable::Request);
    }
    if (directives.no_store && !is_understood) || directives.private == Scope::Whole {
        return Err(Unstorable::Response);
    }
    let allows_authorized =
        directives.public || directives.must_revalidate || directives.s_maxage_s.is_some();
    if request.contains_key(header::AUTHORIZATION) && !allows_authorized {
        return Err(Unstorable::Authorization);
    }
    if super::vary::is_star(response) {
        return Err(Unstorable::Useless);
    }
    let found = freshness::lifetime(status, response, &directives, is_targeted, now);
    let found = match found {
        // What the operator says comes before what would be guessed.
        Some(Lifetime::Explicit(seconds)) => Some(seconds),
        // A guess must not hand one client's cookie to another.
        _ if response.contains_key(header::SET_COOKIE) => return Err(Unstorable::Response),
        other => default_lifetime(status).or(other.map(Lifetime::seconds)),
    };
    let can_validate =
        response.contains_key(header::ETAG) || response.contains_key(header::LAST_MODIFIED);
    let is_error = status.is_server_error();
    // Without a lifetime it is kept only where it can be validated.
    let lifetime_s = match found {
        Some(seconds) => seconds,
        None if can_validate && !is_error && (status.as_u16() == 200 || directives.public) => 0,
        None => return Err(Unstorable::Useless),
    };
    let allows_stale =
        directives.stale_while_revalidate_s.is_some() || directives.stale_if_error_s.is_some();
    let no_cache = directives.no_cache == Scope::Whole;
    if (lifetime_s == 0 || no_cache) && !can_validate && !allows_stale {
        return Err(Unstorable::Useless);
    }
    Ok(Terms {
        lifetime_s,
        no_cache,
        must_revalidate: directives.must_revalidate
            || directives.proxy_revalidate
            || directives.s_maxage_s.is_some(),
        stale_while_revalidate_s: directives.stale_while_revalidate_s,
        stale_if_error_s: directives.stale_if_error_s,
    })
}

const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers without those of one connection.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in HOP_BY_HOP.iter().chain(&named_by_connection(headers)) {
        kept.remove(name);
    }
    kept
}

/// The headers of a response that are stored (RFC 9111, 3.1): not those of one connection, not
/// those that it forbids caches like this one to keep.
pub(crate) fn stored_headers(response: &HeaderMap) -> HeaderMap {
    let mut kept = end_to_end(response);
    let (directives, _) = directives_of(response);
    for scope in [directives.no_cache, directives.private] {
        if let Scope::Fields(names) = scope {
            names.iter().for_each(|name| {
                kept.remove(name);
            });
        }
    }
    kept
}

/// Headers of a 304 that do not change the stored response: they say how its body is encoded, which
/// stays as it is.
const OF_CONTENT: [HeaderName; 4] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    HeaderName::from_static("content-md5"),
];

/// The stored headers with those of a 304 in their place (RFC 9111, 3.2).
pub(crate) fn updated_headers(stored: &HeaderMap, newer: &HeaderMap) -> HeaderMap {
    let mut merged = stored.clone();
    let newer = stored_headers(newer);
    let names: Vec<&HeaderName> = newer.keys().filter(|name| !OF_CONTENT.contains(name)).collect();
    for name in &names {
        merged.remove(*name);
    }
    // An age belongs to the answer that it came with.
    if !newer.contains_key(header::AGE) {
        merged.remove(header::AGE);
    }
    for name in names {
        for value in newer.get_all(name) {
            merged.append(name, value.clone());
        }
    }
    merged
}
