//! Owns answers that need nothing but what the configuration says: a fixed one, and a redirect.
//!
//! Refuses to decide who gets them. Bound: the body of a fixed answer once, however many read it.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};

/// Sends a client to another address.
pub(crate) fn redirect(status: u16, to: &str) -> Response<Body> {
    let mut response = fixed(status, Bytes::new());
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// An answer that is always the same; slow readers of a large one hold nothing of their own.
pub(crate) fn fixed(status: u16, body: Bytes) -> Response<Body> {
    let has_body = !body.is_empty();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    if has_body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_is_shared_and_not_copied() {
        let body = Bytes::from(vec![b'x'; 1 << 20]);
        for _ in 0..3 {
            let answer = fixed(200, body.clone());
            assert!(answer.headers().contains_key(CONTENT_TYPE));
            let sent = answer.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!((sent.as_ptr(), sent.len()), (body.as_ptr(), body.len()));
        }
    }
}
