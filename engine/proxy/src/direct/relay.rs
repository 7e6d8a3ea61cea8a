//! Owns the passage of one answer from a server to the client: its head made ours, its body as it
//! comes, framed anew.
//!
//! Refuses to choose servers and to try again. Bound: [`SENT_BYTES`] and what Pingora's reader
//! holds of a body at a time; a client that reads slowly is waited for.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use http::Method;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora_core::protocols::IO;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use crate::dressing::remove_hop_by_hop;

/// Bytes that are gathered before they are sent, while more is there.
const SENT_BYTES: usize = 32 << 10;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What is read at most of what a client sends before it has its answer.
const AHEAD_BYTES: usize = 1 << 10;

/// The client of a request that is passed on.
pub(super) struct Client<'a, S> {
    stream: &'a mut S,
    /// What it sent behind its request.
    pub(super) ahead: BytesMut,
    /// How long nothing may go out to it.
    stall: Duration,
    /// Bytes that are out.
    pub(super) sent: usize,
    /// Of these, heads before that of the answer.
    pub(super) hints: usize,
    /// Of the answer without its body: its head, and what frames its chunks.
    pub(super) around: usize,
}

impl<'a, S: IO> Client<'a, S> {
    /// A client that has nothing yet.
    pub(super) fn new(stream: &'a mut S, stall: Duration) -> Self {
        Self { stream, ahead: BytesMut::new(), stall, sent: 0, hints: 0, around: 0 }
    }

    /// Bytes of the answer's body that are out.
    pub(super) fn body_bytes_sent(&self) -> usize {
        self.sent.saturating_sub(self.around)
    }

    /// Sends `bytes` and forgets them.
    pub(super) async fn send(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let mut sleep = None;
        let (mut done, stall) = (0, self.stall);
        let sent = poll_fn(|context| {
            let before = done;
            loop {
                let stream = Pin::new(&mut *self.stream);
                let written = match bytes.get(done..) {
                    Some(rest) if !rest.is_empty() => stream.poll_write(context, rest),
                    _ => stream.poll_flush(context).map_ok(|()| usize::MAX),
                };
                match written {
                    Poll::Ready(Ok(usize::MAX)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorType::WriteError)),
                    Poll::Ready(Ok(count)) => done += count,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(ErrorType::WriteError)),
                    Poll::Pending => break,
                }
            }
            let deadline = Instant::now() + stall;
            let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if done > before {
                sleep.as_mut().reset(deadline);
            }
            sleep.as_mut().poll(context).map(|()| Err(ErrorType::WriteTimedout))
        });
        let sent = sent.await;
        self.sent += done;
        bytes.clear();
        sent.map_err(|kind| Error::explain(kind, "the client does not take the answer").into_down())
    }

    /// Waits for a server as long as the client is there.
    pub(super) async fn while_there<T>(
        &mut self,
        answer: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut answer = pin!(answer);
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer.map_err(Error::into_up));
            }
            if self.ahead.is_empty() {
                let mut room = [0; AHEAD_BYTES];
                let mut buffer = ReadBuf::new(&mut room);
                match Pin::new(&mut *self.stream).poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        self.ahead.extend_from_slice(buffer.filled());
                    }
                    Poll::Ready(_) => {
                        let gone = Error::explain(ErrorType::ConnectionClosed, "the client left");
                        return Poll::Ready(Err(gone.into_down()));
                    }
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Reads heads until that of the answer; those in between are passed on.
    pub(super) async fn head_of(&mut self, server: &mut HttpSession) -> Result<ResponseHeader> {
        loop {
            self.while_there(server.read_response()).await?;
            let Some(head) = server.resp_header() else { continue };
            let mut head = head.clone();
            match head.status.as_u16() {
                // What nobody asked for.
                101 => return Err(Error::new_up(ErrorType::InvalidHTTPHeader)),
                100..200 => {
                    remove_hop_by_hop(&mut head);
                    let mut bytes = Vec::new();
                    write_lines(&head, &mut bytes);
                    bytes.extend_from_slice(b"\r\n");
                    self.send(&mut bytes).await?;
                    self.hints = self.sent;
                }
                _ => return Ok(head),
            }
        }
    }

    /// Sends `bytes`, which end with the head, and the body behind it; `in_time` says whether there
    /// is time left.
    pub(super) async fn body_of(
        &mut self,
        server: &mut HttpSession,
        is_chunked: bool,
        bytes: &mut Vec<u8>,
        in_time: impl Fn() -> Result<()>,
    ) -> Result<()> {
        loop {
            let part = match tokio::task::unconstrained(server.read_body_ref()).now_or_never() {
                Some(part) => part.map_err(Error::into_up),
                None => {
                    self.send(bytes).await?;
                    self.while_there(server.read_body_ref()).await
                }
            };
            let Some(part) = part? else { break };
            in_time()?;
            self.add(part, is_chunked, bytes).await?;
        }
        self.finish(is_chunked, bytes).await
    }

    /// Adds a part of a body to `bytes`, and sends them once they are many.
    pub(super) async fn add(
        &mut self,
        part: &[u8],
        is_chunked: bool,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        if is_chunked && !part.is_empty() {
            let size = format!("{:x}\r\n", part.len());
            bytes.extend_from_slice(size.as_bytes());
            bytes.extend_from_slice(part);
            bytes.extend_from_slice(b"\r\n");
            self.around += size.len() + 2;
        } else {
            bytes.extend_from_slice(part);
        }
        if bytes.len() >= SENT_BYTES {
            self.send(bytes).await?;
        }
        Ok(())
    }

    /// Sends what is left, and the end of the body.
    pub(super) async fn finish(&mut self, is_chunked: bool, bytes: &mut Vec<u8>) -> Result<()> {
        if is_chunked {
            bytes.extend_from_slice(LAST_CHUNK);
            self.around += LAST_CHUNK.len();
        }
        self.send(bytes).await
    }
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Empty,
    Length,
    Chunks,
}

/// Says how the body is framed and whether the connection stays.
pub(super) fn frame(head: &mut ResponseHeader, method: &Method, keeps: bool) -> Result<Framing> {
    let has_body = *method != Method::HEAD && !matches!(head.status.as_u16(), 204 | 304);
    let framing = match head.headers.contains_key(CONTENT_LENGTH) {
        _ if !has_body => Framing::Empty,
        true => Framing::Length,
        false => Framing::Chunks,
    };
    match framing {
        Framing::Chunks => head.insert_header(TRANSFER_ENCODING, "chunked")?,
        Framing::Length => drop(head.remove_header(&TRANSFER_ENCODING)),
        Framing::Empty => {}
    }
    head.insert_header(CONNECTION, if keeps { "keep-alive" } else { "close" })?;
    Ok(framing)
}

/// Writes the lines of a head, without the empty one.
pub(super) fn write_lines(head: &ResponseHeader, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(b"HTTP/1.1 ");
    bytes.extend_from_slice(head.status.as_str().as_bytes());
    bytes.push(b' ');
    bytes.extend_from_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
    bytes.extend_from_slice(b"\r\n");
    head.header_to_h1_wire(bytes);
}
