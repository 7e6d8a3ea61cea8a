//! Owns a connection, with TLS or without, whose request lines are looked at as they arrive:
//! Pingora mends a line with spaces or control characters in its target, and nobody can tell
//! afterwards. The answer's `Date`, which Pingora replaces, is put back on the way out.
//!
//! Refuses to change what is read; the request is refused where it begins. Bound: a few bits per
//! connection, one look at each byte of a request's first line, and a copy of a head while it is
//! written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::head_timer::Turn;

/// Where in a request's first line the reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before it; empty lines are skipped.
    Before,
    Line {
        spaces: u8,
        returned: bool,
    },
    Behind,
}

/// A stream that is watched.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    turn: Arc<Turn>,
    seen: u32,
    place: Place,
    /// A head with its own date, and how much of it is out.
    redated: Option<(Vec<u8>, usize)>,
}

impl<S: IO> Watched<S> {
    pub(crate) fn new(stream: S, turn: Arc<Turn>) -> Self {
        Self { stream, turn, seen: 0, place: Place::Before, redated: None }
    }

    /// What is read from without a look; whatever of it goes to Pingora is to be
    /// [looked](Self::look) at before.
    pub(crate) fn unseen(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Looks at what was read.
    pub(crate) fn look(&mut self, bytes: &[u8]) {
        let Some(head) = self.turn.head() else { return };
        if head != self.seen {
            (self.seen, self.place) = (head, Place::Before);
        }
        for &byte in bytes {
            if self.place == Place::Behind {
                return;
            }
            match step(self.place, byte) {
                Some(next) => self.place = next,
                None => {
                    self.place = Place::Behind;
                    self.turn.doubt_line();
                }
            }
        }
    }
}

/// The place behind `byte`; none where a request line must not have it (RFC 9112 section 3).
fn step(place: Place, byte: u8) -> Option<Place> {
    match (place, byte) {
        (Place::Before, b'\r' | b'\n') => Some(Place::Before),
        (Place::Before, 0x21..=0x7e) => Some(Place::Line { spaces: 0, returned: false }),
        (Place::Line { spaces: 2, returned: true }, b'\n') => Some(Place::Behind),
        (Place::Line { spaces, returned: false }, b'\r') => {
            Some(Place::Line { spaces, returned: true })
        }
        (Place::Line { spaces: spaces @ 0..2, returned: false }, b' ') => {
            Some(Place::Line { spaces: spaces + 1, returned: false })
        }
        (Place::Line { returned: false, .. }, 0x21..=0x7e) => Some(place),
        (Place::Behind, _) => Some(Place::Behind),
        _ => None,
    }
}

impl<S: IO> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.look(&buffer.filled()[before..]);
        read
    }
}

impl<S: IO> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.redated.is_none() {
            this.redated = this.turn.date.write(bytes).map(|head| (head, 0));
        }
        let Some((head, sent)) = &mut this.redated else {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        };
        // It is as long as what is written, whose rest is handed in until all of it is out.
        let rest = &head[*sent..];
        let rest = &rest[..rest.len().min(bytes.len())];
        let count = ready!(Pin::new(&mut this.stream).poll_write(context, rest))?;
        *sent += count;
        if *sent == head.len() {
            this.redated = None;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.redated.is_some() || self.turn.date.is_kept() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| slice));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait]
impl<S: IO> Shutdown for Watched<S> {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut self.stream).await;
    }
}

#[async_trait]
impl<S: IO> Peek for Watched<S> {
    async fn try_peek(&mut self, wanted: &mut [u8]) -> io::Result<bool> {
        self.stream.try_peek(wanted).await
    }
}

impl<S: IO> UniqueID for Watched<S> {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl<S: IO> Ssl for Watched<S> {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl<S: IO> GetTimingDigest for Watched<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl<S: IO> GetProxyDigest for Watched<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl<S: IO> GetSocketDigest for Watched<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a line is in order, however it is cut.
    fn is_good(line: &[u8]) -> bool {
        let mut place = Place::Before;
        line.iter().all(|&byte| step(place, byte).map(|next| place = next).is_some())
            && place == Place::Behind
    }

    #[test]
    fn a_line_has_two_spaces_and_visible_characters() {
        assert!(is_good(b"GET / HTTP/1.1\r\n"));
        assert!(is_good(b"\r\nGET /a?b HTTP/1.1\r\nanything \n"));
        let bad: [&[u8]; 7] = [
            b" GET / HTTP/1.1\r\n",
            b"GET  / HTTP/1.1\r\n",
            b"GET /a b HTTP/1.1\r\n",
            b"GET / HTTP/1.1 \r\n",
            b"GET /\x7f HTTP/1.1\r\n",
            b"GET / HTTP/1.1\n",
            b"GET /\rHTTP/1.1\r\n",
        ];
        for line in bad {
            assert!(!is_good(line), "{}", line.escape_ascii());
        }
    }
}
