//! Owns one accepted TCP connection as Pingora wants to see it.
//!
//! Refuses to know HTTP. Pingora's own stream type can be buffered only by its own listeners, and
//! those start their own threads; this one is accepted on a thread that we pinned.
//! Bound: a write buffer of [`WRITE_BUFFER_BYTES`], which joins a response's head and body in one
//! `send`; reads go straight into Pingora's buffer. The time for a head by its limits. What the
//! kernel holds for a client that takes little at a time by [`UNSENT_BYTES_SMALL`].

use std::any::Any;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::SystemTime;

use async_trait::async_trait;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, raw_connect::ProxyDigest,
};
use pingora_http::ResponseHeader;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use truststram_machine::send_window;

use crate::head_timer::{HeadLimits, HeadTimer, Turn};
use crate::stats::GatewayStats;

const WRITE_BUFFER_BYTES: usize = 2048;

/// Bytes of one write from which it matters how much the client takes at once.
const LARGE_BYTES: usize = 16 << 10;
/// A client that takes less at once reads slowly on purpose or has little memory: the kernel cuts
/// an answer for it into pieces of half of that, each of which costs as much as a whole one.
const WINDOW_BYTES_SMALL: u32 = 8 << 10;
/// What the kernel takes of an answer beyond what it has sent to such a client.
const UNSENT_BYTES_SMALL: u32 = 4 << 10;

/// How a connection of HTTP/2 begins (RFC 9113 section 3.4).
pub(crate) const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufWriter<TcpStream>,
    socket: Arc<SocketDigest>,
    proxy: Option<Arc<ProxyDigest>>,
    accepted: SystemTime,
    timer: HeadTimer,
    /// What was read to see which protocol it is; given out first.
    peeked: Vec<u8>,
    /// Whether it was asked how much the client takes at once.
    is_window_known: bool,
    stats: Arc<GatewayStats>,
}

/// What requests see of their connection.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) turn: Arc<Turn>,
    /// The names in the client's certificate, if it showed one.
    pub(crate) names: OnceLock<Vec<String>>,
}

/// That of the connection that `digest` came from.
pub(crate) fn shared_of(digest: &ProxyDigest) -> Option<&Shared> {
    digest.user_data.as_ref()?.downcast_ref()
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        limits: HeadLimits,
        stats: Arc<GatewayStats>,
    ) -> Self {
        // Responses leave in one write, so waiting for more (Nagle) only adds latency. A socket
        // that refuses the option works without it.
        let _ = stream.set_nodelay(true);
        let socket = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // A fresh digest has no address yet, so this cannot fail.
        let _ = socket.peer_addr.set(Some(peer.into()));
        let timer = HeadTimer::new(limits);
        // The one thing that is handed from a connection to its requests.
        let shared = Shared { turn: timer.turn().clone(), names: OnceLock::new() };
        let shared: Box<dyn Any + Send + Sync> = Box::new(shared);
        let empty = ResponseHeader::build(200, Some(0)).map(Box::new);
        let proxy = empty.map(|empty| Arc::new(ProxyDigest::new(empty, Some(shared)))).ok();
        Self {
            stream: BufWriter::with_capacity(WRITE_BUFFER_BYTES, stream),
            socket: Arc::new(socket),
            proxy,
            accepted: SystemTime::now(),
            timer,
            peeked: Vec::new(),
            is_window_known: false,
            stats,
        }
    }

    /// Has the kernel take little at a time for a client that does so, before the first write that
    /// is large.
    fn look_at_window(&mut self, bytes: usize) {
        if self.is_window_known || bytes < LARGE_BYTES {
            return;
        }
        self.is_window_known = true;
        let stream = self.stream.get_ref();
        if send_window(stream.as_fd()).is_ok_and(|window| window < WINDOW_BYTES_SMALL) {
            // A kernel that refuses it serves all the same.
            let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_SMALL);
        }
    }

    /// What its requests and its timer share.
    pub(crate) fn turn(&self) -> &Arc<Turn> {
        self.timer.turn()
    }

    /// Reads; a connection whose time is over is at its end.
    fn poll_in_time(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(self.stream.get_mut()).poll_read(context, buffer);
        match read {
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                if self.timer.is_late() {
                    buffer.set_filled(before);
                    self.stats.heads_late.add(1);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => match self.timer.poll_over(context) {
                Poll::Ready(in_head) => {
                    self.stats.heads_late.add(in_head.into());
                    Poll::Ready(Ok(()))
                }
                Poll::Pending => Poll::Pending,
            },
            ended => ended,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.peeked.is_empty() {
            return self.poll_in_time(context, buffer);
        }
        let count = self.peeked.len().min(buffer.remaining());
        buffer.put_slice(&self.peeked[..count]);
        self.peeked.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look_at_window(bytes.len());
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look_at_window(slices.iter().map(|slice| slice.len()).sum());
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
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        // The peer may be gone already; there is nobody to tell.
        let _ = AsyncWriteExt::shutdown(&mut self.stream).await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().as_raw_fd()
    }
}

impl Ssl for Connection {}

#[async_trait]
impl Peek for Connection {
    /// Reads as long as what comes may still be the preface of HTTP/2, at most `wanted`.
    async fn try_peek(&mut self, wanted: &mut [u8]) -> io::Result<bool> {
        while self.peeked.len() < wanted.len() && H2_PREFACE.starts_with(&self.peeked) {
            let mut bytes = [0; H2_PREFACE.len()];
            let room = (wanted.len() - self.peeked.len()).min(bytes.len());
            let mut buffer = ReadBuf::new(&mut bytes[..room]);
            poll_fn(|context| self.poll_in_time(context, &mut buffer)).await?;
            if buffer.filled().is_empty() {
                break;
            }
            self.peeked.extend_from_slice(buffer.filled());
        }
        let count = self.peeked.len().min(wanted.len());
        wanted[..count].copy_from_slice(&self.peeked[..count]);
        Ok(true)
    }
}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest { established_ts: self.accepted, ..TimingDigest::default() })]
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.proxy.clone()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.proxy = Some(Arc::new(digest));
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.socket = Arc::new(digest);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::bind::bind;

    /// How much of a large answer the kernel takes at first for a client with such a buffer.
    async fn taken(buffer_bytes: Option<usize>) -> usize {
        let bound = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if let Some(bytes) = buffer_bytes {
            client.set_recv_buffer_size(bytes).unwrap();
        }
        client.connect(&bound.address().into()).unwrap();
        let listener = bound.duplicate().unwrap();
        let (stream, peer) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let stats = Arc::new(GatewayStats::new());
        let long = Duration::from_secs(60);
        let limits = HeadLimits { head: long, idle: long };
        let mut connection = Connection::new(stream, peer, limits, stats);
        connection.stream.get_ref().writable().await.unwrap();
        let mut taken = 0;
        while let Some(count) = connection.write(&vec![0; 1 << 18]).now_or_never() {
            taken += count.unwrap();
        }
        taken
    }

    #[tokio::test]
    async fn the_kernel_holds_little_for_clients_that_take_little() {
        let (small, usual) = (taken(Some(1_024)).await, taken(None).await);
        assert!((1..16 << 10).contains(&small), "{small}");
        assert!(usual >= 64 << 10, "{usual}");
    }
}
