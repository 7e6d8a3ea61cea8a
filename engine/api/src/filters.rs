//! Owns what query strings share: ids, times, limits, and the link to the next page.
//!
//! Refuses to know which handler asks. Bound: [`PAGE_ROW_COUNT_MAX`] rows a page.

use axum::body::Body;
use http::{HeaderValue, Response, Uri, header};
use serde::Serialize;
use truststram_base::limits::PAGE_ROW_COUNT_MAX;
use truststram_base::{IdError, ModelId, UserId};

use crate::ports::PageFailure;
use crate::predict::json_response;
use crate::problem::{FieldError, Problem};
use crate::timestamp;

const LIMIT_DEFAULT: usize = 100;

/// The parameter or field that is not acceptable, and why.
pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Problem {
    Problem::invalid(vec![FieldError::new(field, message)])
}

impl From<PageFailure> for Problem {
    fn from(failure: PageFailure) -> Self {
        match failure {
            PageFailure::BadCursor => invalid("cursor", "is not one that a page gave"),
            PageFailure::Invalid { field, reason } => invalid(field, reason),
            PageFailure::Failure(failure) => failure.into(),
        }
    }
}

/// Reads an id, if there is one.
fn id<T>(
    field: &str,
    text: Option<&str>,
    read: impl FnOnce(&str) -> Result<T, IdError>,
) -> Result<Option<T>, Problem> {
    text.map(read).transpose().map_err(|error| invalid(field, error.to_string()))
}

/// Reads a model's id, if there is one.
pub(crate) fn model(field: &str, text: Option<&str>) -> Result<Option<ModelId>, Problem> {
    id(field, text, ModelId::new)
}

/// Reads a user's id, if there is one.
pub(crate) fn user(field: &str, text: Option<&str>) -> Result<Option<UserId>, Problem> {
    id(field, text, UserId::new)
}

/// Reads a time, if there is one.
pub(crate) fn time(field: &str, text: Option<&str>) -> Result<Option<i64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    timestamp::parse(text).map(Some).ok_or_else(|| {
        invalid(field, "must be a time such as 2026-11-23T14:00:00Z, or microseconds")
    })
}

/// How many rows a page has.
pub(crate) fn limit(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if (1..=PAGE_ROW_COUNT_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(invalid("limit", format!("must be 1 to {PAGE_ROW_COUNT_MAX}, found {limit}")))
}

/// A JSON answer; where `next` is given, `Link` leads to the same address with that parameter set
/// to that value, which needs no escape.
pub(crate) fn page(
    body: &impl Serialize,
    uri: &Uri,
    next: Option<(&str, String)>,
) -> Response<Body> {
    let mut response = json(body);
    let link = next.map(|(name, value)| next_link(uri, name, &value));
    if let Some(value) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(header::LINK, value);
    }
    response
}

/// A JSON answer.
pub(crate) fn json(body: &impl Serialize) -> Response<Body> {
    // Plain data always serialises.
    json_response(serde_json::to_vec(body).unwrap_or_default())
}

fn next_link(uri: &Uri, name: &str, value: &str) -> String {
    let is_kept = |pair: &&str| {
        !pair.is_empty() && pair.split_once('=').is_none_or(|(found, _)| found != name)
    };
    let mut link = format!("<{}?", uri.path());
    for pair in uri.query().unwrap_or_default().split('&').filter(is_kept) {
        link.push_str(pair);
        link.push('&');
    }
    format!("{link}{name}={value}>; rel=\"next\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_keeps_all_but_the_place() {
        let check = |uri: &'static str, expected: &str| {
            assert_eq!(next_link(&Uri::from_static(uri), "from", "9"), expected);
        };
        check("/a", "</a?from=9>; rel=\"next\"");
        check("/a?from=1&limit=2", "</a?limit=2&from=9>; rel=\"next\"");
        check("/a?fromage=1&&x=%20", "</a?fromage=1&x=%20&from=9>; rel=\"next\"");
    }
}
