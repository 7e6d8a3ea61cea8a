//! Owns the passage of one request from Pingora's session to the handler and of its answer back.
//!
//! Refuses to know routes. Bound: a request body of `body_bytes_max` held in memory, or two chunks
//! of one that is passed on as it arrives; an answer whose size is known is sent with
//! `content-length`, any other one chunk by chunk.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderValue, Request, Response, Version, header};
use http_body_util::BodyExt;
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::sync::mpsc;

use crate::compress::{Arriving, Compression, Decoded, Piece};
use crate::gateway::Handler;

/// What is compressed at a time.
const PIECE_BYTES: usize = 64 << 10;

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
    go_on(session).await?;
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

/// Tells a client that asks first to send its body.
async fn go_on(session: &mut Session) -> Result<()> {
    let expects = session.req_header().headers.get(header::EXPECT);
    if expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        session.write_continue_response().await?;
    }
    Ok(())
}

pub(crate) fn declared_length(session: &Session) -> Option<u64> {
    let value = session.req_header().headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Calls the handler with the session's head and `body`.
pub(crate) async fn call(
    handler: &Handler,
    session: &Session,
    body: Bytes,
    extensions: http::Extensions,
) -> Response<Body> {
    handler(request(session, Body::from(body), extensions)).await
}

/// The same with a body that is no longer encoded as the head says.
pub(crate) async fn call_decoded(
    handler: &Handler,
    session: &Session,
    body: Bytes,
    extensions: http::Extensions,
) -> Response<Body> {
    let length = HeaderValue::from(body.len());
    let mut request = request(session, Body::from(body), extensions);
    request.headers_mut().remove(header::CONTENT_ENCODING);
    request.headers_mut().insert(header::CONTENT_LENGTH, length);
    handler(request).await
}

/// A body on its way to the handler.
struct Streamed {
    chunks: mpsc::Receiver<std::io::Result<Bytes>>,
    arriving: Option<Arriving>,
    /// Why it cannot be decoded.
    failed: Arc<OnceLock<Decoded>>,
}

impl Streamed {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> {
        let Some(arriving) = &mut self.arriving else { return self.chunks.poll_recv(context) };
        loop {
            match arriving.next() {
                Ok(Piece::Bytes(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::Wanting) => match self.chunks.poll_recv(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(chunk))) => arriving.push(chunk),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                    Poll::Ready(None) => arriving.end(),
                },
                Err(why) => {
                    // The first reason is the one that counts.
                    let _ = self.failed.set(why);
                    let error = std::io::Error::other("the body cannot be decoded");
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

/// Calls the handler with a body that it reads as it arrives, decoded by `arriving` where it is
/// encoded: the client is told to go on once the handler reads, and a chunk is read from it once
/// there is room for it. A body that is not read to its end ends the connection. Without an answer:
/// why the body could not be decoded.
pub(crate) async fn call_streaming(
    handler: &Handler,
    session: &mut Session,
    extensions: http::Extensions,
    arriving: Option<Arriving>,
) -> Result<Result<Response<Body>, Decoded>> {
    let (wanted, mut is_wanted) = mpsc::channel::<()>(1);
    let (sender, chunks) = mpsc::channel::<std::io::Result<Bytes>>(1);
    let failed = Arc::new(OnceLock::new());
    let is_encoded = arriving.is_some();
    let mut streamed = Streamed { chunks, arriving, failed: failed.clone() };
    let body = stream::poll_fn(move |context| {
        // One word is enough; the channel is full or closed after it.
        let _ = wanted.try_send(());
        streamed.poll(context)
    });
    let mut request = request(session, Body::from_stream(body), extensions);
    if is_encoded {
        // They are of what the client sent.
        request.headers_mut().remove(header::CONTENT_ENCODING);
        request.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let (answer, pumped) = {
        let mut answered = handler(request);
        let mut pump = pin!(async {
            if is_wanted.recv().await.is_none() {
                return Ok(false);
            }
            go_on(session).await?;
            pass_on(session, sender).await
        });
        tokio::select! {
            answer = &mut answered => (answer, Ok(false)),
            // The router sees the end of the body once the sender is gone.
            pumped = &mut pump => (answered.await, pumped),
        }
    };
    if !pumped? {
        session.set_keepalive(None);
    }
    Ok(failed.get().map_or(Ok(answer), |why| Err(why.clone())))
}

/// Passes the body on as there is room for it; ends with whether all of it was taken.
async fn pass_on(
    session: &mut Session,
    chunks: mpsc::Sender<std::io::Result<Bytes>>,
) -> Result<bool> {
    let downstream = session.as_downstream_mut();
    while let Ok(room) = chunks.reserve().await {
        match downstream.read_request_body().await {
            Ok(Some(chunk)) => room.send(Ok(chunk)),
            Ok(None) => return Ok(true),
            Err(error) => {
                room.send(Err(std::io::Error::other("the client went away")));
                return Err(error);
            }
        }
    }
    Ok(false)
}

/// The session's head with a body.
fn request(session: &Session, body: Body, extensions: http::Extensions) -> Request<Body> {
    let head = session.req_header();
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers.clone();
    *request.extensions_mut() = extensions;
    request
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
    } else if session.req_header().version == Version::HTTP_11 {
        // Pingora would end the connection to say where the body ends.
        head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let is_head = session.req_header().method == http::Method::HEAD;
    let empty = is_head || exact == Some(0);
    session.write_response_header(Box::new(ResponseHeader::from(head)), empty).await?;
    if empty {
        return session.write_response_body(None, true).await;
    }
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            // The head is out; closing early is the only way to say that the body is not whole.
            session.set_keepalive(None);
            return pingora_core::Error::e_explain(
                pingora_core::ErrorType::InternalError,
                "the answer's body ended early",
            );
        };
        if let Ok(chunk) = frame.into_data() {
            let last = body.is_end_stream();
            write(session, chunk, last).await?;
            if last {
                return Ok(());
            }
        }
    }
    session.write_response_body(None, true).await
}

/// Writes a chunk; one that is compressed goes in pieces, between which others have their turn.
async fn write(session: &mut Session, mut chunk: Bytes, is_last: bool) -> Result<()> {
    let is_slow =
        session.downstream_modules_ctx.get::<Compression>().is_some_and(Compression::is_at_work);
    while is_slow && chunk.len() > PIECE_BYTES {
        let piece = chunk.split_to(PIECE_BYTES);
        session.write_response_body(Some(piece), false).await?;
        tokio::task::yield_now().await;
    }
    session.write_response_body(Some(chunk), is_last).await
}
