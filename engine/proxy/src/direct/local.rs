//! Owns plain requests to this process: the router is called by the connection's own task.
//!
//! Refuses requests whose body is encoded, or large enough to be read as it arrives; Pingora reads
//! those. Bound: one request of [`REQUEST_BYTES_MAX`](super::REQUEST_BYTES_MAX), and a part of its
//! answer.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use pingora_core::protocols::IO;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use tower_service::Service;
use truststram_base::RequestId;

use super::caller::Caller;
use super::pass::Passed;
use super::ready::{Answered, Record};
use super::relay::{Client, Framing, frame, write_lines};
use super::write::write_date;
use crate::answering::X_REQUEST_ID;
use crate::app::App;
use crate::context::header_of;
use crate::dressing::dress;
use crate::limit::{InFlight, LimitHeaders};
use crate::live::Table;
use crate::route::spec::Scheme;

/// A request that the router answers.
pub(super) struct Local {
    pub(super) request: Request<Body>,
    pub(super) table: Arc<Table>,
    /// The place of its route, if there are routes.
    pub(super) place: Option<usize>,
    pub(super) limited: LimitHeaders,
    /// Held until it is over.
    pub(super) _in_flight: InFlight,
    pub(super) id: RequestId,
    pub(super) began_us: u64,
    /// Whether the connection may stay open behind it.
    pub(super) keeps: bool,
    pub(super) scheme: Scheme,
    /// The head, where the request is logged.
    pub(super) logged: Option<RequestHeader>,
}

impl App {
    /// Has the router answer.
    pub(super) async fn answer_here<S: IO>(
        &self,
        local: Local,
        caller: &Caller,
        stream: &mut S,
    ) -> Passed {
        let Local { request, table, place, limited, _in_flight, id, began_us, .. } = local;
        self.stats.direct.add(1);
        let method = request.method().clone();
        let Ok(mut response) = self.router.clone().call(request).await;
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, header_of(id));
        let status = response.status();
        dress(&table, local.scheme, (status, response.headers_mut()));
        limited.write(response.headers_mut());
        let mut client = Client {
            stream,
            ahead: BytesMut::new(),
            stall: self.write_timeout,
            sent: 0,
            hints: 0,
            around: 0,
        };
        let made = self.begin_answer(response, &method, began_us, local.keeps);
        let mut head = Bytes::new();
        let sent = match made {
            Ok((bytes, body, framing)) => {
                if local.logged.is_some() {
                    head = Bytes::copy_from_slice(&bytes);
                }
                client.around = bytes.len();
                send_body(&mut client, bytes, body, framing).await
            }
            Err(error) => Err(error),
        };
        let duration_us = self.clock.monotonic_us().saturating_sub(began_us);
        let status = status.as_u16();
        self.stats.answered(status, duration_us);
        if let Some(route) = place.and_then(|place| table.routes.get(place)) {
            route.stats.answered(status, duration_us);
        }
        if sent.is_err() {
            self.stats.broken.add(1);
        }
        if let Some(request) = local.logged {
            let body_bytes_sent = client.sent.saturating_sub(client.around);
            let (table, route, proxying) = (&*table, place, None);
            let answered =
                Answered { status, table, route, duration_us, body_bytes_sent, proxying };
            self.log_direct(&Record { request, head, id }, &answered, caller.ends());
        }
        match sent {
            Ok(()) if local.keeps => Passed::Next(client.ahead),
            sent => Passed::Over { in_order: sent.is_ok() },
        }
    }

    /// The head of an answer as bytes, its body, and how that is framed.
    fn begin_answer(
        &self,
        response: Response<Body>,
        method: &Method,
        began_us: u64,
        keeps: bool,
    ) -> Result<(Vec<u8>, Body, Framing)> {
        let (mut parts, body) = response.into_parts();
        let exact = body.size_hint().exact();
        if let Some(length) = exact {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let is_dated = parts.headers.contains_key(DATE);
        let mut head = ResponseHeader::from(parts);
        let mut framing = frame(&mut head, method, keeps)?;
        if exact == Some(0) {
            framing = Framing::Empty;
        }
        let small = exact.filter(|length| *length < 64 << 10);
        let room = small.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(512 + room);
        write_lines(&head, &mut bytes);
        if !is_dated {
            write_date(&mut bytes, &*self.clock, began_us);
        }
        bytes.extend_from_slice(b"\r\n");
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
