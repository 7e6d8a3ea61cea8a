//! Owns a connection to a server, and the first read of an answer from it.
//!
//! Refuses to know what answers say. Bound: one read of [`READ_BYTES`] at a time, into room that
//! all connections of a thread share.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::stream::Stream as Socket;
use pingora_core::{Error, ErrorType, Result, RetryType};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// What is read of an answer at a time.
const READ_BYTES: usize = 64 << 10;

thread_local! {
    /// What all connections of a thread read into, one after the other.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A timer that is set anew for each wait: to set it later costs little, unlike a new one.
#[derive(Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ends once it is `at`.
    pub(super) fn poll_until(&mut self, at: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(context)
    }
}

/// A connection to a server.
pub(super) struct Server {
    socket: Box<Socket>,
    timer: Timer,
}

impl Server {
    pub(super) async fn connect(address: SocketAddr, limit: Duration) -> Result<Self> {
        let connected = tokio::time::timeout(limit, TcpStream::connect(address)).await;
        let doing = "connecting to a server";
        let error = match connected {
            Ok(Ok(stream)) => {
                // A socket that refuses the option works without it.
                let _ = stream.set_nodelay(true);
                return Ok(Self::of(stream));
            }
            Ok(Err(error)) => Error::because(ErrorType::ConnectError, doing, error),
            Err(_) => Error::explain(ErrorType::ConnectTimedout, doing),
        };
        Err(error.into_up())
    }

    pub(super) fn of(stream: TcpStream) -> Self {
        Self { socket: Box::new(Socket::from(stream)), timer: Timer::default() }
    }

    /// The same as Pingora's reader takes it; `read` is read again.
    pub(super) fn into_stream(mut self, read: &[u8]) -> Stream {
        self.socket.rewind(read);
        self.socket
    }

    /// One that Pingora gave back.
    pub(super) fn from_stream(stream: Stream) -> Option<Self> {
        let socket = stream.into_any().downcast().ok()?;
        Some(Self { socket, timer: Timer::default() })
    }

    /// Whether the server has neither ended the connection nor said what nobody asked for.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        tokio::task::unconstrained(self.socket.read(&mut byte)).now_or_never().is_none()
    }

    /// Sends a request.
    pub(super) async fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<()> {
        let (mut at, mut done) = (None, 0);
        poll_fn(|context| {
            while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
                match Pin::new(&mut *self.socket).poll_write(context, rest) {
                    Poll::Ready(Ok(count)) if count > 0 => done += count,
                    Poll::Ready(Ok(_)) => {
                        return Poll::Ready(Err(failed(io::ErrorKind::WriteZero.into())));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(failed(error))),
                    Poll::Pending => {
                        let at = *at.get_or_insert_with(|| Instant::now() + limit);
                        let late = || Err(Error::new_up(ErrorType::WriteTimedout));
                        return self.timer.poll_until(at, context).map(|()| late());
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Reads once, and what `see` makes of it.
    pub(super) async fn read<T>(
        &mut self,
        limit: Duration,
        mut see: impl FnMut(&[u8]) -> T,
    ) -> Result<T> {
        let mut at = None;
        poll_fn(|context| {
            let read = ROOM.with_borrow_mut(|room| {
                let mut buffer = ReadBuf::new(room);
                let read = Pin::new(&mut *self.socket).poll_read(context, &mut buffer);
                read.map_ok(|()| {
                    let read = buffer.filled();
                    (!read.is_empty()).then(|| see(read))
                })
            });
            match read {
                Poll::Ready(Ok(Some(seen))) => Poll::Ready(Ok(seen)),
                Poll::Ready(Ok(None)) => {
                    Poll::Ready(Err(failed(io::ErrorKind::ConnectionReset.into())))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(failed(error))),
                Poll::Pending => {
                    let at = *at.get_or_insert_with(|| Instant::now() + limit);
                    let late = || Err(Error::new_up(ErrorType::ReadTimedout));
                    self.timer.poll_until(at, context).map(|()| late())
                }
            }
        })
        .await
    }
}

/// The connection is over. One that was kept may have been ended just when it was used again.
fn failed(error: io::Error) -> Box<Error> {
    let doing = "asking a server";
    let mut error = Error::because(ErrorType::ConnectionClosed, doing, error).into_up();
    error.retry = RetryType::ReusedOnly;
    error
}
