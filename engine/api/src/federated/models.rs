//! Owns the download of a version of a federation's model, whole or from where it broke off.
//!
//! Refuses to hold it: chunks are sent as they are read. Bound: one chunk.

use std::ops::Range;

use axum::body::Body;
use axum::extract::State;
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use truststram_base::{Kind, ModelId};

use super::{Refused, answer, signed};
use crate::problem::Problem;
use crate::router::{Ports, Shared};

/// What part of a file is wanted.
#[derive(Debug, PartialEq)]
enum Part {
    Whole,
    Some(Range<u64>),
    Unsatisfiable,
}

/// The part that `Range` asks for (RFC 9110, section 14). Several parts at once are sent as the
/// whole, which every client must take.
fn part(headers: &HeaderMap, etag: &str, bytes: u64) -> Part {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if text(header::IF_RANGE).is_some_and(|validator| validator != etag) {
        return Part::Whole;
    }
    let Some(range) = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    let Some((first, last)) = range.split_once('-').filter(|_| !range.contains(',')) else {
        return Part::Whole;
    };
    let (first, last) = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(bytes)),
        (Ok(first), Err(_)) if last.trim().is_empty() => (first, bytes),
        (Err(_), Ok(count)) if first.trim().is_empty() => {
            (bytes.saturating_sub(count), if count == 0 { 0 } else { bytes })
        }
        _ => return Part::Whole,
    };
    if first < last { Part::Some(first..last) } else { Part::Unsatisfiable }
}

/// Fetch a version of the model: a safetensors file.
#[utoipa::path(get, path = "/api/v1/fl/models/{model}/versions/{version}",
    operation_id = "federated_model", tag = "federated learning",
    params(
        ("model" = String, Path, description = "The model"),
        ("version" = u64, Path, description = "The version; 0 is what the federation began with"),
    ),
    responses(
        (status = 200, description = "The file; its ETag is its SHA-256",
         content((Vec<u8> = "application/octet-stream"))),
        (status = 206, description = "The part of it that `Range` asks for",
         content((Vec<u8> = "application/octet-stream"))),
        (status = 304, description = "It is what `If-None-Match` names"),
        (status = 416, description = "It has no such part", body = Problem),
        Refused,
    ))]
pub(crate) async fn show(
    State(ports): State<Shared>,
    axum::extract::Path((model, version)): axum::extract::Path<(String, String)>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    answer(shown(&ports, &model, &version, &parts).await)
}

async fn shown(
    ports: &Ports,
    model: &str,
    version: &str,
    parts: &http::request::Parts,
) -> Result<Response<Body>, Problem> {
    let signed = signed::of_head(parts)?;
    let unknown = || Problem::new(Kind::NotFound, "there is no such version of the model");
    let model = ModelId::new(model).map_err(|_| unknown())?;
    let version: u64 = version.parse().map_err(|_| unknown())?;
    let facts = ports.federated.model(signed, model, version).await?;
    let etag = format!("\"{}\"", facts.sha256);
    let bytes = facts.bytes;
    let mut response = Response::new(Body::empty());
    let is_known = parts.headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.split(',').any(|tag| [etag.as_str(), "*"].contains(&tag.trim())))
    });
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, immutable"));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let (status, range) = match part(&parts.headers, &etag, bytes) {
        Part::Whole => (StatusCode::OK, 0..bytes),
        Part::Some(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::Unsatisfiable => {
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            let detail = format!("the file has {bytes} bytes");
            return Err(Problem::of_status(status, "range", "Range not satisfiable", detail));
        }
    };
    let media = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{bytes}", range.start, range.end - 1);
        if let Ok(text) = HeaderValue::from_str(&text) {
            headers.insert(header::CONTENT_RANGE, text);
        }
    }
    let chunks = ports.federated.model_bytes(facts, version, range);
    *response.body_mut() =
        Body::from_stream(chunks.map_err(|failure| std::io::Error::other(failure.detail)));
    *response.status_mut() = status;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_was_asked_for() {
        let check = |range: &str, if_range: Option<&str>, expected: Part| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
            if let Some(tag) = if_range {
                headers.insert(header::IF_RANGE, HeaderValue::from_str(tag).unwrap());
            }
            assert_eq!(part(&headers, "\"a\"", 100), expected, "{range}");
        };
        check("bytes=0-9", None, Part::Some(0..10));
        check("bytes=90-", None, Part::Some(90..100));
        check("bytes=-10", None, Part::Some(90..100));
        check("bytes=90-500", Some("\"a\""), Part::Some(90..100));
        check("bytes=90-", Some("\"b\""), Part::Whole);
        check("bytes=100-", None, Part::Unsatisfiable);
        check("bytes=-0", None, Part::Unsatisfiable);
        for odd in ["bytes=0-1,5-6", "bytes=9-3", "lines=1-2", "bytes=x-", "bytes=-"] {
            check(odd, None, Part::Whole);
        }
    }
}
