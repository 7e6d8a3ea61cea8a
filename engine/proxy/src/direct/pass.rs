//! Owns plain requests that are passed on to a server by the connection's own task: attempt by
//! attempt, by the same choice of servers, retries and counts as all others.
//!
//! Refuses requests with bodies and servers that are not spoken to in HTTP/1.1 without TLS; Pingora's
//! proxy takes those. Bound: one request; the head of its answer, and a part of its body.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::DATE;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::protocols::{IO, Stream};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use tokio::net::TcpStream;
use truststram_base::RequestId;

use super::answer::{Caller, begin_head, prepared, put, write_date};
use super::kept::For;
use super::plain::{Plain, no_fields};
use super::ready::{Answered, Record};
use super::relay::{Client, frame, write_lines};
use crate::answering::{X_REQUEST_ID, tell_server};
use crate::app::App;
use crate::cache::{date_of, http_date};
use crate::context::header_of;
use crate::dressing::{dress, remove_hop_by_hop};
use crate::forwarded::Origin;
use crate::limit::{InFlight, LimitHeaders};
use crate::live::Table;
use crate::proxying::{Proxying, status_of};
use crate::refusal::Refusal;
use crate::route::compile::Route;
use crate::route::edit::Facts;
use crate::route::spec::Scheme;
use crate::route::table::{HOST_BYTES_MAX, host_of};
use crate::upstream::ring::hash;

/// A request that is passed on.
pub(super) struct Passing {
    /// The head as it was read.
    pub(super) read: Box<[u8]>,
    pub(super) method: Method,
    pub(super) table: Arc<Table>,
    /// The place of its route.
    pub(super) place: usize,
    pub(super) proxying: Proxying,
    pub(super) limited: LimitHeaders,
    /// Held until it is over.
    pub(super) _in_flight: InFlight,
    pub(super) id: RequestId,
    pub(super) began_us: u64,
    /// Whether the connection may stay open behind it.
    pub(super) keeps: bool,
    pub(super) scheme: Scheme,
}

/// How the connection goes on behind a request that was passed on.
pub(super) enum Passed {
    /// The next request follows; what was read of it already.
    Next(BytesMut),
    /// It is over; after a whole answer it is ended in order.
    Over { in_order: bool },
}

/// What is known of an answer.
#[derive(Default)]
struct Answer {
    /// 0 where there is none.
    status: u16,
    /// Its head, where it is logged.
    head: Bytes,
}

impl Passing {
    fn route(&self) -> Option<&Route> {
        self.table.routes.get(self.place)
    }

    /// What `with` makes of the request.
    fn as_read<T>(&self, with: impl FnOnce(&Plain<'_>) -> T) -> Result<T> {
        let mut fields = no_fields();
        let plain = Plain::read(&self.read, &mut fields);
        // It was read before.
        plain.map(|plain| with(&plain)).ok_or_else(|| Error::new_in(ErrorType::InvalidHTTPHeader))
    }

    /// What variables stand for.
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        self.as_read(|plain| {
            let mut buffer = [0; HOST_BYTES_MAX];
            Facts {
                host: host_of(plain.authority, &mut buffer).to_owned(),
                scheme: self.scheme.name(),
                client: caller.client(),
                path: plain.path.to_owned(),
                query: plain.target.split_once('?').map(|(_, query)| query.to_owned()),
                id: self.id,
            }
        })
    }

    /// What the server gets.
    fn to_server(&self, caller: &Caller) -> Result<RequestHeader> {
        let made = self.as_read(|plain| {
            let mut head = plain.to_header()?;
            head.remove_header(&http::header::CONNECTION);
            Some((head, http::HeaderValue::from_str(plain.authority).ok()?))
        })?;
        let (mut head, host) = made.ok_or_else(|| Error::new_in(ErrorType::InvalidHTTPHeader))?;
        let origin = caller.client().map(|peer| Origin {
            peer,
            client: peer.to_canonical(),
            is_trusted: false,
            scheme: self.scheme.name(),
            host: &host,
        });
        tell_server(&mut head, &self.proxying, origin.as_ref(), header_of(self.id))?;
        if let Some(route) = self.route().filter(|route| !route.request_edits.is_empty()) {
            route.request_edits.apply(&mut head, &self.facts(caller)?);
        }
        Ok(head)
    }
}

impl App {
    /// Passes the request on and its answer back.
    pub(super) async fn pass_on<S: IO>(
        &self,
        mut passing: Passing,
        caller: &Caller,
        stream: &mut S,
    ) -> Passed {
        let ahead = BytesMut::new();
        let stall = self.write_timeout;
        let mut client = Client { stream, ahead, stall, sent: 0, hints: 0, around: 0 };
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
        let keeps = passing.keeps && error.is_none();
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
        let now_us = || self.clock.monotonic_us();
        let address = passing.proxying.choose(self.thread, now_us())?;
        let whose: For = (hash(passing.proxying.group.name().as_bytes()), address);
        let kept = self.kept.take(whose);
        let is_kept = kept.is_some();
        let stream = match kept {
            Some(stream) => stream,
            None => {
                let connected = connect(&passing.proxying, address).await;
                connected.map_err(|error| passing.proxying.not_connected(error, now_us()))?
            }
        };
        passing.proxying.connected(is_kept, now_us());
        let mut server = HttpSession::new(stream);
        if let Err(error) = self.exchange(&mut server, passing, caller, client, answer).await {
            // Plain requests are idempotent.
            let is_safe = client.sent == 0;
            return Err(passing.proxying.broke_off(error, is_safe, is_kept, now_us()));
        }
        server.respect_keepalive();
        if let Some(stream) = server.reuse().await {
            self.kept.put(whose, stream, passing.proxying.group.spec.keepalive);
        }
        Ok(())
    }

    /// Sends the request, and the answer to the client.
    async fn exchange<S: IO>(
        &self,
        server: &mut HttpSession,
        passing: &mut Passing,
        caller: &Caller,
        client: &mut Client<'_, S>,
        answer: &mut Answer,
    ) -> Result<()> {
        let proxying = &passing.proxying;
        server.write_timeout = Some(proxying.within(proxying.timeouts().send));
        server.read_timeout = Some(proxying.within(proxying.timeouts().read));
        let request = passing.to_server(caller)?;
        server.write_request_header(Box::new(request)).await.map_err(Error::into_up)?;
        let mut head = client.head_of(server).await?;
        passing.proxying.in_time()?;
        passing.proxying.answered(head.status.as_u16(), self.clock.monotonic_us());
        remove_hop_by_hop(&mut head);
        head.insert_header(X_REQUEST_ID, header_of(passing.id))?;
        dress(&passing.table, passing.scheme, (head.status, &mut head));
        if let Some(route) = passing.route().filter(|route| !route.response_edits.is_empty()) {
            route.response_edits.apply(&mut head, &passing.facts(caller)?);
        }
        passing.limited.write(&mut head);
        let is_chunked = frame(&mut head, &passing.method, passing.keeps)?;
        let made_s = date_of(&head.headers, self.utc_s());
        head.remove_header(&DATE);
        if let Some(made_s) = made_s {
            head.insert_header(DATE, http_date(made_s))?;
        }
        let mut bytes = Vec::with_capacity(1 << 10);
        write_lines(&head, &mut bytes);
        if made_s.is_none() {
            write_date(&mut bytes, &*self.clock, passing.began_us);
        }
        bytes.extend_from_slice(b"\r\n");
        answer.status = head.status.as_u16();
        if self.access_log.is_some() {
            answer.head = Bytes::copy_from_slice(&bytes);
        }
        client.around = client.sent + bytes.len();
        client.body_of(server, is_chunked, &mut bytes, || passing.proxying.in_time()).await
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
        let response = (self.reject)(&uri, &Refusal::of_status(status));
        let Some(made) = prepared(response, &passing.table, passing.scheme) else { return false };
        let mut bytes = begin_head(&made, &passing.limited);
        write_date(&mut bytes, &*self.clock, passing.began_us);
        put(&mut bytes, b"x-request-id", &passing.id.to_hex());
        put(&mut bytes, b"Connection", b"close");
        bytes.extend_from_slice(b"\r\n");
        answer.status = made.status;
        answer.head = Bytes::copy_from_slice(&bytes);
        client.around = client.sent + bytes.len();
        if passing.method != Method::HEAD {
            bytes.extend_from_slice(&made.body);
        }
        client.send(&mut bytes).await.is_ok()
    }

    /// Counts and logs what is over.
    fn passed<S>(
        &self,
        passing: &mut Passing,
        caller: &Caller,
        client: &Client<'_, S>,
        answer: &Answer,
        error: Option<&Error>,
    ) {
        let now_us = self.clock.monotonic_us();
        let duration_us = now_us.saturating_sub(passing.began_us);
        self.stats.passed.add(1);
        if answer.status != 0 {
            self.stats.answered(answer.status, duration_us);
            if let Some(route) = passing.route() {
                route.stats.answered(answer.status, duration_us);
            }
        }
        if error.is_some() {
            self.stats.broken.add(1);
        }
        let logs = |plain: &Plain<'_>| {
            passing.table.access.takes(passing.route(), plain.path).then(|| plain.to_header())
        };
        if self.access_log.is_some()
            && let Ok(Some(Some(request))) = passing.as_read(logs)
        {
            let record = Record { request, head: answer.head.clone(), id: passing.id };
            let answered = Answered {
                status: answer.status,
                table: &passing.table,
                route: Some(passing.place),
                duration_us,
                body_bytes_sent: client.sent.saturating_sub(client.around),
                proxying: Some(&passing.proxying),
            };
            self.log_direct(&record, &answered, caller.ends());
        }
        passing.proxying.finish(error, now_us);
    }
}

/// A new connection to a server.
async fn connect(proxying: &Proxying, address: SocketAddr) -> Result<Stream> {
    let limit = proxying.within(proxying.timeouts().connect);
    let connected = tokio::time::timeout(limit, TcpStream::connect(address)).await;
    let error = match connected {
        Ok(Ok(stream)) => {
            // A socket that refuses the option works without it.
            let _ = stream.set_nodelay(true);
            let stream = pingora_core::protocols::l4::stream::Stream::from(stream);
            return Ok(Box::new(stream));
        }
        Ok(Err(error)) => Error::because(ErrorType::ConnectError, "connecting to a server", error),
        Err(_) => Error::explain(ErrorType::ConnectTimedout, "connecting to a server"),
    };
    Err(error.into_up())
}
