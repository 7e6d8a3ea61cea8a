//! Owns the passage of one request from Pingora's session to the router and of its answer back.
//!
//! Refuses to know routes. Bound: a request body of `body_bytes_max` held in memory; an answer
//! whose size is known is sent with `content-length`, any other one chunk by chunk.

use axum::Router;
use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tower_service::Service;

/// What reading a request's body came to.
pub(crate) enum RequestBody {
    Whole(Bytes),
    TooLarge,
}

/// Reads the body whole, unless it is, or says it is, larger than `bytes_max`.
pub(crate) async fn read_body(session: &mut Session, bytes_max: usize) -> Result<RequestBody> {
    let declared = declared_length(session);
    if declared.is_some_and(|length| length > bytes_max as u64) {
        return Ok(RequestBody::TooLarge);
    }
    let expects = session.req_header().headers.get(header::EXPECT);
    if expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        session.write_continue_response().await?;
    }
    let downstream = session.as_downstream_mut();
    let Some(first) = downstream.read_request_body().await? else {
        return Ok(RequestBody::Whole(Bytes::new()));
    };
    // Most bodies arrive with the head or in one read: they are passed on without a copy.
    if declared == Some(first.len() as u64) {
        return Ok(RequestBody::Whole(first));
    }
    let mut whole = BytesMut::from(first);
    while whole.len() <= bytes_max {
        match downstream.read_request_body().await? {
            Some(chunk) => whole.extend_from_slice(&chunk),
            None => return Ok(RequestBody::Whole(whole.freeze())),
        }
    }
    Ok(RequestBody::TooLarge)
}

fn declared_length(session: &Session) -> Option<u64> {
    let value = session.req_header().headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Calls the router with the session's head and `body`.
pub(crate) async fn call(
    router: &Router,
    session: &Session,
    body: Bytes,
    extensions: http::Extensions,
) -> Response<Body> {
    let head = session.req_header();
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers.clone();
    *request.extensions_mut() = extensions;
    match router.clone().call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Sends `response`; `request_id` goes into its head.
pub(crate) async fn answer(
    session: &mut Session,
    response: Response<Body>,
    request_id: HeaderValue,
) -> Result<()> {
    let (mut head, mut body) = response.into_parts();
    head.headers.insert("x-request-id", request_id);
    let exact = body.size_hint().exact();
    if let Some(length) = exact {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let is_head = session.req_header().method == http::Method::HEAD;
    let empty = is_head || exact == Some(0);
    let downstream = session.as_downstream_mut();
    downstream.write_response_header(Box::new(ResponseHeader::from(head))).await?;
    if empty {
        return downstream.write_response_body(Bytes::new(), true).await;
    }
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            // The head is out; closing early is the only way to say that the body is not whole.
            downstream.set_keepalive(None);
            return pingora_core::Error::e_explain(
                pingora_core::ErrorType::InternalError,
                "the answer's body ended early",
            );
        };
        if let Ok(chunk) = frame.into_data() {
            let last = body.is_end_stream();
            downstream.write_response_body(chunk, last).await?;
            if last {
                return Ok(());
            }
        }
    }
    downstream.write_response_body(Bytes::new(), true).await
}
