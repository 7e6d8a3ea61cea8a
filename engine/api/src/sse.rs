//! Owns the answer that goes on: server-sent events (WHATWG HTML, section 9.2).
//!
//! Refuses to know what happens. Bound: one event in memory.

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{HeaderValue, Response, header};

/// An answer of these events, as they come.
pub(crate) fn answer(events: BoxStream<'static, String>) -> Response<Body> {
    let chunks = events.map(|event| Ok::<_, std::convert::Infallible>(Bytes::from(event)));
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
