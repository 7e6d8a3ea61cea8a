//! Owns the writing of a response to the client.
//!
//! Refuses to know where it comes from. Bound: one chunk at a time.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::date;
use crate::answering::of_client;
use crate::dated::keep_date;

/// `only-if-cached`, and it is not.
pub(super) async fn answer_missing(
    session: &mut Session,
    finish: &(dyn Fn(&mut HeaderMap) + Send + Sync),
) -> Result<()> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    finish(&mut headers);
    write_head(session, StatusCode::GATEWAY_TIMEOUT, headers, false).await?;
    write_body(session, Bytes::new(), true).await
}

pub(super) async fn write_head(
    session: &mut Session,
    status: StatusCode,
    headers: HeaderMap,
    has_body: bool,
) -> Result<()> {
    // Such dates have the preferred form, which needs no present.
    keep_date(session, date::of(&headers, 0));
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let mut head = ResponseHeader::from(response.into_parts().0);
    let is_11 = session.req_header().version == http::Version::HTTP_11;
    if has_body && is_11 && !head.headers.contains_key(header::CONTENT_LENGTH) {
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    session.write_response_header(Box::new(head), !has_body).await.map_err(of_client)
}

pub(super) async fn write_body(session: &mut Session, body: Bytes, is_end: bool) -> Result<()> {
    session.write_response_body(Some(body), is_end).await.map_err(of_client)
}
