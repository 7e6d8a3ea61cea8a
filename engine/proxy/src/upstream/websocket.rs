//! Owns connections for upgrades (WebSocket). Pingora 0.9.1 tears one down when the server's 101
//! is read before the end of the request's empty body is passed on (pingora issue 946), which a
//! server on the same machine is fast enough for. Such a connection lets one turn of the event loop
//! pass before its first read, in which the body ends.
//!
//! Refuses to be kept for another request: it has no descriptor that Pingora could look at.
//! Bound: one connection each.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::{Error, ErrorType, OrErr, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Makes such connections.
#[derive(Debug)]
pub(crate) struct ForUpgrade {
    limit: Duration,
}

impl ForUpgrade {
    /// Makes them within `limit`.
    pub(crate) fn connector(limit: Duration) -> Arc<dyn L4Connect + Send + Sync> {
        Arc::new(Self { limit })
    }
}

#[async_trait]
impl L4Connect for ForUpgrade {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "not an address of TCP");
        };
        let Ok(connected) = tokio::time::timeout(self.limit, TcpStream::connect(address)).await
        else {
            return Error::e_explain(ErrorType::ConnectTimedout, "TCP");
        };
        let stream = connected.or_err(ErrorType::ConnectError, "TCP")?;
        let patient = Patient { stream, has_waited: false };
        Ok(VirtualSocketStream::new(Box::new(patient)).into())
    }
}

#[derive(Debug)]
struct Patient {
    stream: TcpStream,
    has_waited: bool,
}

impl VirtualSocket for Patient {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.has_waited {
            self.has_waited = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
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
