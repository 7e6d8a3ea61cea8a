//! Owns a connection of HTTP/1 from its first request to its last: it waits for each, and answers
//! it directly, passes it on, or lends the connection to Pingora for that one request.
//!
//! Refuses to hold anything for a request while there is none. Bound: a head of
//! [`REQUEST_BYTES_MAX`], one answer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::{IO, Shutdown};
use pingora_proxy::HttpProxy;
use tokio::io::ReadBuf;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::REQUEST_BYTES_MAX;
use super::caller::Caller;
use super::decide::Done;
use super::local::Local;
use super::pass::Passed;
use super::passing::Passing;
use super::plain::may_become_head;
use super::ready::Ready;
use crate::app::App;
use crate::head_timer::Turn;
use crate::watched::Watched;

/// Seconds for which Pingora waits for a read of a head that has begun; the connection's own timer
/// ends it earlier.
const READ_S: u64 = 3_600;

/// How the requests of connections are answered at one listener.
pub(crate) struct Turns {
    pub(crate) proxy: Arc<HttpProxy<App>>,
    /// The same for what is answered directly.
    pub(crate) app: App,
    /// Most requests of one connection.
    pub(crate) requests_max: Option<u32>,
    /// Whether the drain has begun.
    pub(crate) is_stopping: AtomicBool,
}

thread_local! {
    /// What all connections of a thread read into, one after the other.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; REQUEST_BYTES_MAX].into());
}

/// What follows on a wait for a request.
enum Next {
    /// Pingora answers what was read so far.
    Lend(BytesMut),
    /// A server is asked.
    Pass(Box<Passing>),
    /// The router is.
    Call(Box<Local>),
    /// The connection is over; after an answer it is ended in order.
    Over { in_order: bool },
}

/// Serves a connection to its end.
pub(crate) async fn serve<S: IO + 'static>(
    turns: &Turns,
    mut stream: Box<Watched<S>>,
    turn: Arc<Turn>,
    mut closing: watch::Receiver<bool>,
) {
    let caller = Caller::of(&*stream);
    let mut left = turns.requests_max;
    let mut ahead = BytesMut::new();
    loop {
        let next = if ahead.is_empty() {
            let stream = &mut *stream;
            let mut wait = Wait { turns, caller: &caller, turn: &turn, stream, left: &mut left };
            wait.for_request(&mut closing).await
        } else {
            stream.look(&ahead);
            Next::Lend(std::mem::take(&mut ahead))
        };
        let read = match next {
            Next::Lend(read) => read,
            Next::Pass(_) | Next::Call(_) => {
                // In boxes, so that no idle connection holds the room of an exchange.
                let passed = match next {
                    Next::Pass(passing) => {
                        Box::pin(turns.app.pass_on(*passing, &caller, &mut *stream)).await
                    }
                    Next::Call(local) => {
                        Box::pin(turns.app.answer_here(*local, &caller, &mut *stream)).await
                    }
                    Next::Lend(_) | Next::Over { .. } => Passed::Over { in_order: false },
                };
                turn.end();
                match passed {
                    Passed::Next(read) => ahead = read,
                    Passed::Over { in_order } => return end(stream, in_order).await,
                }
                continue;
            }
            Next::Over { in_order } => return end(stream, in_order).await,
        };
        // In a block of its own, so that no idle connection holds the room of a session.
        let answered = {
            let mut session = ServerSession::new_http1(stream);
            session.set_pipelined_prefix(read);
            session.set_keepalive(Some(READ_S));
            session.set_keepalive_reuses_remaining(left);
            turns.proxy.process_new_http(session, &closing)
        };
        let Some(reused) = answered.await else { return };
        left = left.map(|left| left.saturating_sub(1));
        // It comes back as it went.
        let Ok(same) = reused.consume().0.into_any().downcast() else { return };
        stream = same;
    }
}

async fn end<S: IO>(mut stream: Box<Watched<S>>, in_order: bool) {
    if in_order {
        stream.shutdown().await;
    }
}

/// A connection that waits.
struct Wait<'a, S> {
    turns: &'a Turns,
    caller: &'a Caller,
    turn: &'a Turn,
    stream: &'a mut Watched<S>,
    /// Requests that the connection may still have after the next one.
    left: &'a mut Option<u32>,
}

impl<S: IO> Wait<'_, S> {
    async fn for_request(&mut self, closing: &mut watch::Receiver<bool>) -> Next {
        let mut over = pin!(closing.changed());
        let mut is_over = false;
        let (mut sending, mut stall) = (None, None);
        let mut held = BytesMut::new();
        poll_fn(|context| {
            if let Poll::Ready(next) = self.poll(context, &mut held, &mut sending, &mut stall) {
                return Poll::Ready(next);
            }
            is_over = is_over || over.as_mut().poll(context).is_ready();
            // A request that has begun is answered, and an answer sent whole.
            if is_over && sending.is_none() && held.is_empty() {
                return Poll::Ready(Next::Over { in_order: false });
            }
            Poll::Pending
        })
        .await
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        held: &mut BytesMut,
        sending: &mut Option<Box<Ready>>,
        stall: &mut Option<Pin<Box<Sleep>>>,
    ) -> Poll<Next> {
        loop {
            if let Some(answer) = sending {
                let limit = self.turns.app.write_timeout;
                let is_whole = match poll_sent(answer, self.stream, stall, limit, context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(is_whole) => is_whole,
                };
                let keeps = answer.admitted.keeps && is_whole;
                self.turns.app.sent(answer, self.caller, is_whole);
                self.turn.end();
                (*sending, *stall) = (None, None);
                if !keeps {
                    return Poll::Ready(Next::Over { in_order: is_whole });
                }
            }
            match ROOM.with_borrow_mut(|room| self.poll_read(context, room, held)) {
                Poll::Ready(Ok(answer)) => *sending = Some(answer),
                Poll::Ready(Err(next)) => return Poll::Ready(next),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads what came behind what is `held`, and answers it if that can be done at once.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        room: &mut [u8],
        held: &mut BytesMut,
    ) -> Poll<Result<Box<Ready>, Next>> {
        loop {
            let mut buffer = ReadBuf::new(&mut room[held.len()..]);
            match Pin::new(self.stream.unseen()).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Err(Next::Over { in_order: false })),
            }
            let end = held.len() + buffer.filled().len();
            room[..held.len()].copy_from_slice(held);
            let read = &room[..end];
            let is_last = self.turns.is_stopping.load(Ordering::Relaxed) || *self.left == Some(0);
            // What is answered directly was read strictly, and needs no other look.
            let done = match self.turn.has_odd_line() {
                false => self.turns.app.answer_directly(read, self.caller, !is_last),
                true => None,
            };
            let next = match done {
                Some(Done::Answered(answer)) => Ok(answer),
                Some(Done::Passing(passing)) => Err(Next::Pass(passing)),
                Some(Done::Calling(local)) => Err(Next::Call(local)),
                begun => {
                    self.stream.look(&read[held.len()..]);
                    held.extend_from_slice(&read[held.len()..]);
                    let is_odd = self.turn.has_odd_line();
                    let is_begun = begun.is_some() || may_become_head(held);
                    if !is_odd && end < room.len() && is_begun {
                        continue;
                    }
                    return Poll::Ready(Err(Next::Lend(std::mem::take(held))));
                }
            };
            held.clear();
            if self.turn.begin(false) {
                self.turns.app.stats.connections_fresh.lower(1);
            }
            *self.left = self.left.map(|left| left.saturating_sub(1));
            return Poll::Ready(next);
        }
    }
}

/// Sends until the answer is out, or nothing of it went out for `limit`; with whether it is whole.
fn poll_sent<S: IO>(
    answer: &mut Ready,
    stream: &mut Watched<S>,
    stall: &mut Option<Pin<Box<Sleep>>>,
    limit: Duration,
    context: &mut Context<'_>,
) -> Poll<bool> {
    let mut sent = false;
    if let Poll::Ready(result) = answer.poll_send(stream, context, &mut sent) {
        return Poll::Ready(result.is_ok());
    }
    let deadline = Instant::now() + limit;
    let sleep = stall.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
    if sent {
        sleep.as_mut().reset(deadline);
    }
    sleep.as_mut().poll(context).map(|()| false)
}
