//! Owns an answer on its way to the client.
//!
//! Refuses to read. Bound: one answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::admitted::{Admitted, Record};
use super::write::keep_room;

/// Bodies up to this size are copied behind their head, so that one write takes both.
pub(super) const COPIED_BYTES_MAX: usize = 16 << 10;

/// An answer that is ready to be sent. In a box from the beginning: it is handed on several times.
pub(super) struct Ready {
    pub(super) admitted: Admitted,
    pub(super) status: u16,
    /// What is logged, where it is.
    pub(super) record: Option<Box<Record>>,
    first: Vec<u8>,
    rest: Bytes,
    sent: usize,
    is_written: bool,
}

impl Ready {
    pub(super) fn new(
        admitted: Admitted,
        (status, mut first, body): (u16, Vec<u8>, Bytes),
        record: Option<Box<Record>>,
    ) -> Box<Self> {
        let mut rest = body;
        if rest.len() <= COPIED_BYTES_MAX {
            first.extend_from_slice(&rest);
            rest = Bytes::new();
        }
        Box::new(Self { admitted, status, record, first, rest, sent: 0, is_written: false })
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

impl Drop for Ready {
    fn drop(&mut self) {
        keep_room(std::mem::take(&mut self.first));
    }
}
