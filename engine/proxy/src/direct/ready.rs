//! Owns an answer on its way to the client, and what is counted and logged once it is there.
//!
//! Refuses to read. Bound: one answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use pingora_http::RequestHeader;
use tokio::io::AsyncWrite;
use truststram_base::RequestId;

use crate::limit::InFlight;
use crate::live::Table;
use crate::proxying::Proxying;

/// Bodies up to this size are copied behind their head, so that one write takes both.
pub(super) const COPIED_BYTES_MAX: usize = 16 << 10;

/// What a log line needs beside the answer.
pub(crate) struct Record {
    pub(crate) request: RequestHeader,
    /// The head of the answer.
    pub(crate) head: Bytes,
    pub(crate) id: RequestId,
}

/// What became of an answer.
pub(crate) struct Answered<'a> {
    pub(crate) status: u16,
    pub(crate) table: &'a Table,
    pub(crate) route: Option<usize>,
    pub(crate) duration_us: u64,
    pub(crate) body_bytes_sent: usize,
    /// Its way to a server, where it was passed on.
    pub(crate) proxying: Option<&'a Proxying>,
}

/// An answer that is ready to be sent.
pub(super) struct Ready {
    pub(super) status: u16,
    /// The table that it was found by.
    pub(super) table: Arc<Table>,
    /// The place of the route that was reached.
    pub(super) route: Option<usize>,
    pub(super) began_us: u64,
    /// What is logged, where it is.
    pub(super) record: Option<Box<Record>>,
    /// Whether the connection stays open.
    pub(super) keeps: bool,
    /// Held until it is sent.
    _in_flight: InFlight,
    first: Vec<u8>,
    rest: Bytes,
    sent: usize,
    is_written: bool,
}

impl Ready {
    pub(super) fn new(
        (status, mut first, body): (u16, Vec<u8>, Bytes),
        (table, route): (Arc<Table>, Option<usize>),
        (began_us, keeps): (u64, bool),
        in_flight: InFlight,
    ) -> Self {
        let mut rest = body;
        if rest.len() <= COPIED_BYTES_MAX {
            first.extend_from_slice(&rest);
            rest = Bytes::new();
        }
        Self {
            status,
            table,
            route,
            began_us,
            record: None,
            keeps,
            _in_flight: in_flight,
            first,
            rest,
            sent: 0,
            is_written: false,
        }
    }

    /// Bytes that are out.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// Writes what is left; `sent` says whether anything went out.
    pub(super) fn poll_send<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        sent: &mut bool,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.first.len() + self.rest.len() {
            let written = match self.sent.checked_sub(self.first.len()) {
                None if self.rest.is_empty() => {
                    Pin::new(&mut *stream).poll_write(context, &self.first[self.sent..])
                }
                None => {
                    let slices = [IoSlice::new(&self.first[self.sent..]), IoSlice::new(&self.rest)];
                    Pin::new(&mut *stream).poll_write_vectored(context, &slices)
                }
                Some(of_rest) => Pin::new(&mut *stream).poll_write(context, &self.rest[of_rest..]),
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
            *sent = true;
        }
        if !self.is_written {
            ready!(Pin::new(stream).poll_flush(context))?;
            self.is_written = true;
        }
        Poll::Ready(Ok(()))
    }
}
