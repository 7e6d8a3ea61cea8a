//! Owns plain requests that are passed on to a server by the connection's own task: attempt by
//! attempt, by the same choice of servers, retries and counts as all others.
//!
//! Refuses requests with bodies and servers that are not spoken to in HTTP/1.1 without TLS;
//! Pingora's proxy takes those. Bound: one request; the head of its answer, and a part of its body.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::DATE;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::protocols::{IO, Stream};
use pingora_core::{Error, Result};

use super::admitted::{Answered, Record};
use super::caller::Caller;
use super::kept::For;
use super::passing::Passing;
use super::plain::Plain;
use super::relay::{Client, Framing, frame};
use super::reply::{Changes, Reply, no_fields as no_reply_fields};
use super::server::Server;
use super::write::{begin_head, end_head, prepared, put};
use crate::app::App;
use crate::cache::{date_of, http_date};
use crate::dressing::remove_hop_by_hop;
use crate::proxying::status_of;
use crate::refusal::Refusal;

/// How the connection goes on behind a request that was passed on.
pub(super) enum Passed {
    /// The next request follows; what was read of it already.
    Next(BytesMut),
    /// It is over; after a whole answer it is ended in order.
    Over { in_order: bool },
}

/// What is known of an answer.
#[derive(Default)]
pub(super) struct Answer {
    /// 0 where there is none.
    status: u16,
    /// Its head, where it is logged.
    head: Bytes,
}

/// An answer that has begun.
pub(super) enum Begun {
    /// It goes on as it came: what the client gets of it first, and how much is left.
    Plain { status: u16, head_bytes: usize, bytes: Vec<u8>, left: usize, keeps: bool },
    /// What was read of one that takes more.
    Other(Vec<u8>),
}

impl App {
    /// Passes the request on and its answer back.
    pub(super) async fn pass_on<S: IO>(
        &self,
        mut passing: Passing,
        caller: &Caller,
        stream: &mut S,
    ) -> Passed {
        let mut client = Client::new(stream, self.write_timeout);
        let mut answer = Answer::default();
        let mut error = loop {
            match self.attempt(&mut passing, caller, &mut client, &mut answer).await {
                Ok(()) => break None,
                Err(error) if error.retry() => {}
                Err(error) => break Some(error),
            }
        };
        let mut is_whole = error.is_none();
        if let Some(failed) = &mut error
            && client.sent == client.hints
            && status_of(failed) != 0
        {
            is_whole = self.apologise(&passing, status_of(failed), &mut client, &mut answer).await;
        }
        let keeps = passing.admitted.keeps && error.is_none();
        self.passed(&mut passing, caller, &client, &answer, error.as_deref());
        if keeps { Passed::Next(client.ahead) } else { Passed::Over { in_order: is_whole } }
    }

    /// Asks one server.
    async fn attempt<S: IO>(
        &self,
        passing: &mut Passing,
        caller: &Caller,
        client: &mut Client<'_, S>,
        answer: &mut Answer,
    ) -> Result<()> {
        if let Some(after) = passing.proxying.hedges_after() {
            // In a box, so that other requests do not have the room of two.
            return Box::pin(self.attempt_hedged(passing, caller, client, answer, after)).await;
        }
        let now_us = || self.clock.monotonic_us();
        let address = passing.proxying.choose(self.thread, now_us())?;
        let whose: For = (passing.proxying.group.hash, address);
        let limit = passing.proxying.within(passing.proxying.limits().timeouts.connect);
        let wants_new = passing.proxying.wants_new();
        let (server, is_kept) = match self.connection(whose, limit, wants_new).await {
            Ok(connection) => connection,
            Err(error) => return Err(passing.proxying.not_connected(error, now_us())),
        };
        passing.proxying.connected(passing.proxying.last(), is_kept, now_us());
        let done = self.exchange(server, passing, caller, client, answer).await;
        self.attempted(done, passing, client, (whose, is_kept))
    }

    /// A connection, and whether it was kept.
    pub(super) async fn connection(
        &self,
        whose: For,
        limit: Duration,
        wants_new: bool,
    ) -> Result<(Server, bool)> {
        let kept = if wants_new { None } else { self.kept.take(whose) };
        match kept {
            Some(server) => Ok((server, true)),
            None => Server::connect(whose.1, limit).await.map(|server| (server, false)),
        }
    }

    /// Keeps the connection of an attempt that is over, or says what becomes of the request.
    pub(super) fn attempted<S>(
        &self,
        done: Result<Option<Server>>,
        passing: &mut Passing,
        client: &Client<'_, S>,
        (whose, is_kept): (For, bool),
    ) -> Result<()> {
        match done {
            Ok(Some(server)) => {
                self.kept.put(whose, server, passing.proxying.group.spec.keepalive);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => {
                // Plain requests are idempotent.
                let (is_safe, now_us) = (client.sent == 0, self.clock.monotonic_us());
                Err(passing.proxying.broke_off(error, is_safe, is_kept, now_us))
            }
        }
    }

    /// Sends the request, and the answer to the client; with the connection, if it can be kept.
    async fn exchange<S: IO>(
        &self,
        mut server: Server,
        passing: &mut Passing,
        caller: &Caller,
        client: &mut Client<'_, S>,
        answer: &mut Answer,
    ) -> Result<Option<Server>> {
        let limits = passing.proxying.limits();
        let limit = limits.within(limits.timeouts.send);
        server.send(&passing.request(caller)?, limit).await?;
        let limit = limits.within(limits.timeouts.read);
        let begin = |read: &[u8]| self.read_reply(passing, read);
        let begun = client.while_there(server.read(limit, begin)).await??;
        self.go_on(server, begun, passing, client, answer).await
    }

    /// Passes on an answer that has begun; with the connection, if it can be kept.
    pub(super) async fn go_on<S: IO>(
        &self,
        mut server: Server,
        begun: Begun,
        passing: &mut Passing,
        client: &mut Client<'_, S>,
        answer: &mut Answer,
    ) -> Result<Option<Server>> {
        let (mut bytes, mut left, keeps) = match begun {
            Begun::Plain { status, head_bytes, bytes, left, keeps } => {
                passing.proxying.in_time()?;
                self.answered(passing, answer, client, (status, &bytes[..head_bytes]));
                (bytes, left, keeps)
            }
            Begun::Other(read) => {
                let stream = server.into_stream(&read);
                // In a box, so that plain answers do not have the room of all others.
                return Box::pin(self.relay(stream, passing, client, answer)).await;
            }
        };
        let read = passing.proxying.limits().timeouts.read;
        let mut is_exact = true;
        loop {
            client.send(&mut bytes).await?;
            if left == 0 {
                return Ok((keeps && is_exact).then_some(server));
            }
            passing.proxying.in_time()?;
            let take = |read: &[u8]| {
                let count = left.min(read.len());
                bytes.extend_from_slice(&read[..count]);
                is_exact = count == read.len();
                count
            };
            let limit = passing.proxying.within(read);
            let taken = client.while_there(server.read(limit, take)).await;
            left -= taken.map_err(|mut error| {
                // The connection was still good when the answer began.
                error.set_retry(false);
                error
            })?;
        }
    }

    /// Makes of the first bytes of an answer what the client gets.
    pub(super) fn read_reply(&self, passing: &Passing, read: &[u8]) -> Result<Begun> {
        let mut fields = no_reply_fields();
        let Some(reply) = Reply::read(read, &mut fields, passing.method == Method::HEAD) else {
            return Ok(Begun::Other(read.to_vec()));
        };
        let mut changes = Changes::of(&reply);
        passing.change((reply.status, &mut changes))?;
        let mut bytes = Vec::with_capacity(read.len() + 512);
        let is_dated = reply.write(&changes, self.utc_s(), &mut bytes);
        if !is_dated {
            self.write_date(&mut bytes, passing.admitted.began_us);
        }
        end_head(&mut bytes, passing.admitted.keeps);
        let head_bytes = bytes.len();
        let body = &read[reply.head..];
        let count = body.len().min(reply.body);
        bytes.extend_from_slice(&body[..count]);
        Ok(Begun::Plain {
            status: reply.status.as_u16(),
            head_bytes,
            bytes,
            left: reply.body - count,
            // What nobody asked for is nobody's answer.
            keeps: reply.keeps && count == body.len(),
        })
    }

    /// Notes that the answer is known.
    fn answered<S>(
        &self,
        passing: &mut Passing,
        answer: &mut Answer,
        client: &mut Client<'_, S>,
        (status, head): (u16, &[u8]),
    ) {
        passing.proxying.answered(status, self.clock.monotonic_us());
        answer.status = status;
        if self.access_log.is_some() {
            answer.head = Bytes::copy_from_slice(head);
        }
        client.around = client.sent + head.len();
    }

    /// Passes on an answer that Pingora reads.
    async fn relay<S: IO>(
        &self,
        stream: Stream,
        passing: &mut Passing,
        client: &mut Client<'_, S>,
        answer: &mut Answer,
    ) -> Result<Option<Server>> {
        let mut server = HttpSession::new(stream);
        let limits = passing.proxying.limits();
        server.read_timeout = Some(limits.within(limits.timeouts.read));
        let mut head = client.head_of(&mut server).await?;
        passing.proxying.in_time()?;
        remove_hop_by_hop(&mut head);
        passing.change((head.status, &mut head))?;
        let framing = frame(&mut head, &passing.method, passing.admitted.keeps)?;
        let made_s = date_of(&head.headers, self.utc_s());
        head.remove_header(&DATE);
        if let Some(made_s) = made_s {
            head.insert_header(DATE, http_date(made_s))?;
        }
        let mut bytes = self.written(&head, passing.admitted.began_us, 1 << 10);
        self.answered(passing, answer, client, (head.status.as_u16(), &bytes));
        if framing == Framing::Empty {
            client.send(&mut bytes).await?;
            return Ok(None);
        }
        let is_chunked = framing == Framing::Chunks;
        client.body_of(&mut server, is_chunked, &mut bytes, || passing.proxying.in_time()).await?;
        server.respect_keepalive();
        Ok(server.reuse().await.and_then(Server::from_stream))
    }

    /// Says that there is no answer; whether the client has that.
    async fn apologise<S: IO>(
        &self,
        passing: &Passing,
        status: u16,
        client: &mut Client<'_, S>,
        answer: &mut Answer,
    ) -> bool {
        let uri = passing.as_read(|plain| plain.target.parse().ok()).ok().flatten();
        let Some(uri) = uri else { return false };
        let admitted = &passing.admitted;
        let response = (self.reject)(&uri, &Refusal::of_status(status));
        let Some(made) = prepared(response, &admitted.table, admitted.scheme) else { return false };
        let mut bytes = begin_head(&made, &passing.limited);
        self.write_date(&mut bytes, passing.admitted.began_us);
        put(&mut bytes, b"x-request-id", &admitted.id.to_hex());
        end_head(&mut bytes, false);
        answer.status = made.status;
        answer.head = Bytes::copy_from_slice(&bytes);
        client.around = client.sent + bytes.len();
        if passing.method != Method::HEAD {
            bytes.extend_from_slice(&made.body);
        }
        client.send(&mut bytes).await.is_ok()
    }

    /// Counts and logs what is over.
    fn passed<S: IO>(
        &self,
        passing: &mut Passing,
        caller: &Caller,
        client: &Client<'_, S>,
        answer: &Answer,
        error: Option<&Error>,
    ) {
        self.stats.passed.add(1);
        let logs = |plain: &Plain<'_>| {
            self.logs(&passing.admitted, plain.path).then(|| plain.to_header()).flatten()
        };
        // Not read once more where nothing is logged.
        let logged = self.access_log.as_ref().and_then(|_| passing.as_read(logs).ok().flatten());
        let record = logged.map(|request| Record { request, head: answer.head.clone() });
        let answered = Answered {
            status: answer.status,
            is_whole: error.is_none(),
            body_bytes_sent: client.body_bytes_sent(),
            proxying: Some(&passing.proxying),
        };
        self.over(&passing.admitted, &answered, record.as_ref(), caller);
        passing.proxying.finish(error, self.clock.monotonic_us());
    }
}
