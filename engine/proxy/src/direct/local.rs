//! Owns plain requests to this process: the handler is called by the connection's own task.
//!
//! Refuses requests whose body is encoded, or large enough to be read as it arrives; Pingora reads
//! those. Bound: one request of [`REQUEST_BYTES_MAX`](super::REQUEST_BYTES_MAX), and a part of its
//! answer.

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use pingora_core::protocols::IO;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use super::admitted::{Admitted, Answered, Record};
use super::caller::Caller;
use super::pass::Passed;
use super::relay::{Client, Framing, frame};
use crate::answering::X_REQUEST_ID;
use crate::app::App;
use crate::context::header_of;
use crate::dressing::dress_plain;
use crate::limit::LimitHeaders;

/// A request that this process answers.
pub(super) struct Local {
    pub(super) request: Request<Body>,
    pub(super) admitted: Admitted,
    /// What its answer says of limits.
    pub(super) limited: LimitHeaders,
    /// The head, where the request is logged.
    pub(super) logged: Option<RequestHeader>,
}

impl App {
    /// Has this process answer.
    pub(super) async fn answer_here<S: IO>(
        &self,
        local: Local,
        caller: &Caller,
        stream: &mut S,
    ) -> Passed {
        let Local { request, admitted, limited, logged } = local;
        self.stats.direct.add(1);
        let method = request.method().clone();
        let mut response = (self.handler)(request).await;
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, header_of(admitted.id));
        let status = response.status();
        dress_plain(&admitted.table, admitted.scheme, (status, response.headers_mut()));
        limited.write(response.headers_mut());
        let mut client = Client::new(stream, self.write_timeout);
        let mut head = Bytes::new();
        let sent = match self.begin_answer(response, &method, &admitted) {
            Ok((bytes, body, framing)) => {
                if logged.is_some() {
                    head = Bytes::copy_from_slice(&bytes);
                }
                client.around = bytes.len();
                send_body(&mut client, bytes, body, framing).await
            }
            Err(error) => Err(error),
        };
        let answered = Answered {
            status: status.as_u16(),
            is_whole: sent.is_ok(),
            body_bytes_sent: client.body_bytes_sent(),
            proxying: None,
        };
        let record = logged.map(|request| Record { request, head });
        self.over(&admitted, &answered, record.as_ref(), caller);
        match sent {
            Ok(()) if admitted.keeps => Passed::Next(client.ahead),
            sent => Passed::Over { in_order: sent.is_ok() },
        }
    }

    /// The head of an answer as bytes, its body, and how that is framed.
    fn begin_answer(
        &self,
        response: Response<Body>,
        method: &Method,
        admitted: &Admitted,
    ) -> Result<(Vec<u8>, Body, Framing)> {
        let (mut parts, body) = response.into_parts();
        let exact = body.size_hint().exact();
        if let Some(length) = exact {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let mut head = ResponseHeader::from(parts);
        let mut framing = frame(&mut head, method, admitted.keeps)?;
        if exact == Some(0) {
            framing = Framing::Empty;
        }
        let small = exact.filter(|length| *length < 64 << 10);
        let room = small.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let bytes = self.written(&head, admitted.began_us, 512 + room);
        Ok((bytes, body, framing))
    }
}

/// Sends `bytes`, which end with the head, and the body behind it.
async fn send_body<S: IO>(
    client: &mut Client<'_, S>,
    mut bytes: Vec<u8>,
    mut body: Body,
    framing: Framing,
) -> Result<()> {
    if framing == Framing::Empty {
        return client.send(&mut bytes).await;
    }
    let is_chunked = framing == Framing::Chunks;
    loop {
        let frame = match futures_util::FutureExt::now_or_never(body.frame()) {
            Some(frame) => frame,
            None => {
                // What is not there yet is waited for without holding back what is.
                client.send(&mut bytes).await?;
                client.while_there(async { Ok(body.frame().await) }).await?
            }
        };
        let Some(frame) = frame else { break };
        let Ok(frame) = frame else {
            // The head may be out; closing early is the only way to say that the body is not whole.
            client.send(&mut bytes).await?;
            return Err(Error::explain(ErrorType::InternalError, "the answer's body ended early"));
        };
        if let Ok(part) = frame.into_data() {
            client.add(&part, is_chunked, &mut bytes).await?;
        }
    }
    client.finish(is_chunked, &mut bytes).await
}
