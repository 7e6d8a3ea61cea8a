//! Owns one exchange with the origin: a request without a body, and the responses as they arrive.
//!
//! Refuses to know where the origin is; an [`Origin`] connects. Bound: one response, chunk by
//! chunk; heads before the final one are passed on as they come.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, Version, header};
use pingora_core::Result;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::policy;

/// Where the gateway behind the cache tells it the `Date` of a server, in whose place Pingora has
/// written its own.
const ASIDE: HeaderName = HeaderName::from_static("truststram-date");

/// Puts the server's `Date` where the cache finds it.
pub(crate) fn set_date_aside(response: &mut ResponseHeader) {
    response.remove_header(&ASIDE);
    if let Some(date) = response.headers.get(header::DATE).cloned() {
        // A name and a value that are both legal.
        let _ = response.insert_header(ASIDE, date);
    }
}

/// Where responses come from. The upstream side of the gateway is one, a scripted server of the
/// tests another.
#[async_trait]
pub(crate) trait Origin: Send + Sync {
    /// A connection for one request of HTTP/1.1.
    async fn connect(&self) -> Result<Stream>;
}

/// A response whose body is still to be read.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    session: HttpSession,
}

/// Sends `head` and waits for the final response's head; those before it go to `client`.
pub(crate) async fn ask(
    origin: &dyn Origin,
    head: RequestHeader,
    read_timeout: Duration,
    mut client: Option<&mut Session>,
) -> Result<Response> {
    let answered = async {
        let mut session = HttpSession::new(origin.connect().await?);
        session.read_timeout = Some(read_timeout);
        session.write_request_header(Box::new(head)).await?;
        session.finish_body().await?;
        loop {
            session.read_response().await?;
            let Some(head) = session.resp_header() else { continue };
            if head.status.is_informational() {
                if let Some(client) = &mut client {
                    pass_hints(client, head).await;
                }
                continue;
            }
            let (status, mut headers) = (head.status, head.headers.clone());
            if let Some(date) = headers.remove(ASIDE) {
                headers.insert(header::DATE, date);
            }
            return Ok(Response { status, headers, session });
        }
    };
    answered.await.map_err(of_origin)
}

/// Passes a head before the final one on (RFC 9110, 15.2). HTTP/1.0 knows none, and Pingora sends
/// none by HTTP/2.
async fn pass_hints(client: &mut Session, head: &ResponseHeader) {
    if client.req_header().version != Version::HTTP_11 {
        return;
    }
    let mut hints = http::Response::new(());
    *hints.status_mut() = head.status;
    *hints.headers_mut() = policy::end_to_end(&head.headers);
    let hints = Box::new(ResponseHeader::from(hints.into_parts().0));
    // A client that is gone is noticed at the final one.
    let _ = client.as_downstream_mut().write_response_header(hints).await;
}

fn of_origin(mut error: Box<pingora_core::Error>) -> Box<pingora_core::Error> {
    error.as_up();
    error
}

impl Response {
    /// The next part of the body; `None` at its end.
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.session.read_body_bytes().await.map_err(of_origin)
    }

    /// The next part of the body, of a response that has one.
    pub(crate) async fn next_of(&mut self, has_body: bool) -> Result<Option<Bytes>> {
        if has_body { self.chunk().await } else { Ok(None) }
    }

    /// The whole body, unless it is larger than `bytes_max`.
    pub(crate) async fn whole(&mut self, bytes_max: usize) -> Result<Option<Bytes>> {
        let mut body = bytes::BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > bytes_max {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body.freeze()))
    }
}
