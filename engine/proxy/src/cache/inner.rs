//! Owns the way from the cache to the rest of the gateway: a request in this process, by a pipe in
//! memory, so that a miss is routed, tried again and counted like any other request.
//!
//! Refuses to know what answers. Bound: [`PIPE_BYTES`] under way in each direction.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::watch;

use super::fetch::Origin;

const PIPE_BYTES: usize = 64 << 10;

/// The gateway behind the cache, for the requests of one client.
pub(crate) struct Inner<P> {
    pub(crate) proxy: Arc<P>,
    /// As whom it is asked.
    pub(crate) client: Option<SocketAddr>,
    /// And by which encryption.
    pub(crate) ssl: Option<Arc<SslDigest>>,
}

#[async_trait]
impl<P: ServerApp + Send + Sync + 'static> Origin for Inner<P> {
    async fn connect(&self) -> Result<Stream> {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let proxy = self.proxy.clone();
        let pipe = Pipe::new(theirs, self.client, self.ssl.clone());
        tokio::spawn(async move {
            // The request that waits for the answer knows of a drain; this one follows it.
            let (_running, stop) = watch::channel(false);
            proxy.process_new(Box::new(pipe), &stop).await;
        });
        Ok(Box::new(Pipe::new(ours, None, None)))
    }
}

/// One end of the pipe, as Pingora wants to see it.
#[derive(Debug)]
struct Pipe {
    stream: DuplexStream,
    socket: Arc<SocketDigest>,
    ssl: Option<Arc<SslDigest>>,
}

impl Pipe {
    fn new(stream: DuplexStream, client: Option<SocketAddr>, ssl: Option<Arc<SslDigest>>) -> Self {
        let socket = SocketDigest::from_raw_fd(NO_DESCRIPTOR);
        // A fresh digest has no address yet, so this cannot fail.
        let _ = socket.peer_addr.set(client.map(Into::into));
        Self { stream, socket: Arc::new(socket), ssl }
    }
}

const NO_DESCRIPTOR: UniqueIDType = -1;

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Pipe {
    async fn shutdown(&mut self) {
        // The other end may be gone already; there is nobody to tell.
        let _ = AsyncWriteExt::shutdown(&mut self.stream).await;
    }
}

impl UniqueID for Pipe {
    fn id(&self) -> UniqueIDType {
        NO_DESCRIPTOR
    }
}

impl Ssl for Pipe {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.ssl.clone()
    }
}

#[async_trait]
impl Peek for Pipe {}

impl GetTimingDigest for Pipe {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Pipe {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }

    fn set_proxy_digest(&mut self, _digest: ProxyDigest) {}
}

impl GetSocketDigest for Pipe {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.socket = Arc::new(digest);
    }
}
