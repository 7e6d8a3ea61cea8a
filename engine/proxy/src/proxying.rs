//! Owns the way of one request upstream, attempt by attempt: which server, how it is spoken to,
//! whether a failure is tried again, and what becomes known of the server.
//!
//! Refuses to try again what a server may have begun, unless the method is idempotent and nothing
//! of an answer is out. Bound: `retries` further attempts, within the group's budget.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use http::HeaderMap;
use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result, RetryType};
use pingora_proxy::Session;

use crate::route::spec::Timeouts;
use crate::upstream::breaker::Ended;
use crate::upstream::group::{Ask, Group, Lease};
use crate::upstream::ring::hash;
use crate::upstream::rotation::Servers;
use crate::upstream::spec::{HashKey, Policy, Protocol};
use crate::upstream::websocket::ForUpgrade;

mod hedging;

use hedging::Beside;

/// Kept connections that may turn out to be closed before it counts as a failure: one for each of
/// two servers asked at once. Pingora may take a kept one again after one that was closed.
const STALE_MAX: u32 = 2;
/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: usize = 128;

/// What is known of one attempt; times are microseconds since it began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) place: usize,
    pub(crate) began_us: u64,
    pub(crate) connect_us: Option<u64>,
    pub(crate) header_us: Option<u64>,
    pub(crate) end_us: Option<u64>,
    /// 0 where there was no answer.
    pub(crate) status: u16,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Single steps.
    pub(crate) timeouts: Timeouts,
    /// When the time for all of it is over.
    deadline: Option<Instant>,
}

impl Limits {
    fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// What is left of `limit` in the time for all of it.
    pub(crate) fn within(&self, limit: Duration) -> Duration {
        self.left().map_or(limit, |left| left.min(limit))
    }
}

/// One request's way upstream.
pub(crate) struct Proxying {
    pub(crate) group: std::sync::Arc<Group>,
    limits: Limits,
    key: u64,
    tried: Servers,
    attempts: u32,
    made: Vec<Attempt>,
    /// The number of the attempt that is meant.
    at: usize,
    /// Kept connections that turned out to be closed.
    stale_count: u32,
    /// Whether one of them was to have been the attempt that is made next.
    is_owed: bool,
    lease: Option<Lease>,
    /// The other one of two attempts.
    beside: Option<Beside>,
    /// The number of the attempt at a second server, once there was one.
    hedge_at: Option<usize>,
    /// When the answer began, where it was not passed on at once.
    answer_us: Option<u64>,
    /// The status that the server gave.
    status: u16,
    /// The path that is forwarded, where it is another than was asked for.
    pub(crate) path: Option<String>,
    /// The body's bytes so far, and their limit.
    body_bytes: usize,
    body_bytes_max: usize,
}

impl Proxying {
    pub(crate) fn new(
        group: std::sync::Arc<Group>,
        timeouts: Timeouts,
        started: Instant,
        body_bytes_max: usize,
    ) -> Self {
        Self {
            group,
            limits: Limits { timeouts, deadline: timeouts.total.map(|total| started + total) },
            key: 0,
            tried: 0,
            attempts: 0,
            made: Vec::new(),
            at: 0,
            stale_count: 0,
            is_owed: false,
            lease: None,
            beside: None,
            hedge_at: None,
            answer_us: None,
            status: 0,
            path: None,
            body_bytes: 0,
            body_bytes_max,
        }
    }

    /// Takes the key of consistent hashing from the request, where the group hashes.
    pub(crate) fn take_key<'a>(
        &mut self,
        path: &str,
        headers: impl FnOnce() -> &'a HeaderMap,
        client: Option<IpAddr>,
    ) {
        self.key = match &self.group.spec.policy {
            Policy::Hash(HashKey::Ip) => match client {
                Some(IpAddr::V4(address)) => hash(&address.octets()),
                Some(IpAddr::V6(address)) => hash(&address.octets()),
                None => 0,
            },
            Policy::Hash(HashKey::Path) => hash(path.as_bytes()),
            Policy::Hash(HashKey::Header(name)) => {
                headers().get(name).map_or(0, |value| hash(value.as_bytes()))
            }
            _ => 0,
        };
    }

    /// Fails once the time for all of it is over.
    pub(crate) fn in_time(&self) -> Result<()> {
        if self.limits.left() == Some(Duration::ZERO) {
            return Error::e_explain(ErrorType::HTTPStatus(504), "the total time is over");
        }
        Ok(())
    }

    /// Counts a part of the request's body.
    pub(crate) fn body(&mut self, bytes: usize) -> Result<()> {
        self.body_bytes = self.body_bytes.saturating_add(bytes);
        if self.body_bytes > self.body_bytes_max {
            let error = Error::explain(ErrorType::HTTPStatus(413), "the body is too large");
            return Err(error.into_down());
        }
        self.in_time().map_err(|error| error.into_down())
    }

    pub(crate) fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// The server of the next attempt as Pingora connects to it.
    pub(crate) fn next(
        &mut self,
        session: &Session,
        thread: usize,
        now_us: u64,
    ) -> Result<Box<HttpPeer>> {
        let address = self.choose(thread, now_us)?;
        Ok(Box::new(self.peer(session, address)))
    }

    /// The address of the server of the next attempt.
    pub(crate) fn choose(&mut self, thread: usize, now_us: u64) -> Result<SocketAddr> {
        self.in_time()?;
        self.lease = None;
        let ask = Ask { thread, now_us, key: self.key, tried: self.tried };
        let place = self.group.pick(&ask);
        let server = place.and_then(|place| Some((place, self.group.servers.get(place)?)));
        let found = server.and_then(|(place, server)| Some((place, server.address()?)));
        let Some((place, address)) = found else {
            self.group.stats.without_server.add(1);
            return Error::e_explain(ErrorType::HTTPStatus(502), "no server can be asked");
        };
        // An attempt sends the body from its beginning.
        self.body_bytes = 0;
        self.lease = Some(self.begin(place, &ask));
        self.is_owed = false;
        self.at = self.last();
        Ok(address)
    }

    /// Notes one more attempt.
    fn begin(&mut self, place: usize, ask: &Ask) -> Lease {
        self.attempts += 1;
        self.made.push(Attempt { place, began_us: ask.now_us, ..Attempt::default() });
        self.tried |= 1 << place;
        self.group.lease(place, ask)
    }

    /// What is left of `limit` in the time for all of it.
    pub(crate) fn within(&self, limit: Duration) -> Duration {
        self.limits.within(limit)
    }

    /// How long things may take.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    fn peer(&self, session: &Session, address: SocketAddr) -> HttpPeer {
        let spec = &self.group.spec;
        let is_upgrade = session.is_upgrade_req();
        let mut peer = match &spec.protocol {
            Protocol::Http | Protocol::H2c => HttpPeer::new(address, false, String::new()),
            Protocol::Tls { name, .. } => HttpPeer::new(address, true, name.clone()),
        };
        peer.group_key = self.group.hash ^ u64::from(is_upgrade);
        let within = |limit: Duration| Some(self.within(limit));
        let options = &mut peer.options;
        options.connection_timeout = within(self.limits.timeouts.connect);
        options.total_connection_timeout = within(self.limits.timeouts.connect);
        options.read_timeout = within(self.limits.timeouts.read);
        options.write_timeout = within(self.limits.timeouts.send);
        options.idle_timeout = Some(spec.keepalive);
        options.max_h2_streams = STREAMS_MAX;
        match &spec.protocol {
            Protocol::Http if is_upgrade => {
                options.custom_l4 = Some(ForUpgrade::connector(self.limits.timeouts.connect));
            }
            Protocol::Http => {}
            Protocol::H2c => options.set_http_version(2, 2),
            Protocol::Tls { verify, .. } => {
                options.alpn = if is_upgrade { ALPN::H1 } else { ALPN::H2H1 };
                options.verify_cert = *verify;
                options.verify_hostname = *verify;
            }
        }
        peer
    }

    /// Attempt `at` has a connection, a new one or one that was kept.
    pub(crate) fn connected(&mut self, at: usize, is_kept: bool, now_us: u64) {
        if let Some(attempt) = self.made.get_mut(at) {
            let took_us = now_us.saturating_sub(attempt.began_us);
            attempt.connect_us = Some(if is_kept { 0 } else { took_us });
        }
    }

    /// The address and the times of each attempt.
    pub(crate) fn made(&self) -> impl Iterator<Item = (&str, Attempt)> {
        self.made.iter().filter_map(|attempt| {
            let server = self.group.servers.get(attempt.place)?;
            Some((server.spec.address.as_str(), *attempt))
        })
    }

    fn ended(&mut self, status: Option<u16>, now_us: u64) {
        let attempt = self.made.get_mut(self.at);
        if let Some(attempt) = attempt.filter(|attempt| attempt.end_us.is_none()) {
            attempt.end_us = Some(now_us.saturating_sub(attempt.began_us));
            attempt.status = status.unwrap_or(attempt.status);
        }
    }

    /// The answer's head is here.
    pub(crate) fn answered(&mut self, status: u16, now_us: u64) {
        self.status = status;
        let at_us = self.answer_us.take().unwrap_or(now_us);
        if let Some(attempt) = self.made.get_mut(self.at) {
            attempt.status = status;
            attempt.header_us = Some(at_us.saturating_sub(attempt.began_us));
        }
        if let Some(lease) = &self.lease {
            lease.answered(at_us);
        }
    }

    /// The server that has the request, or had it last.
    pub(crate) fn address(&self) -> Option<&str> {
        self.lease.as_ref().map(|lease| lease.server().spec.address.as_str())
    }

    /// There is no connection: nothing was sent, so that any request may be tried again.
    pub(crate) fn not_connected(&mut self, mut error: Box<Error>, now_us: u64) -> Box<Error> {
        self.unconnected(status_of(&error), now_us);
        error.set_retry(self.may_retry(now_us));
        error
    }

    fn unconnected(&mut self, status: u16, now_us: u64) {
        self.ended(Some(status).filter(|status| *status > 0), now_us);
        self.failed(now_us);
    }

    /// The connection broke off; `is_safe` says whether the request may be sent again.
    pub(crate) fn broke_off(
        &mut self,
        mut error: Box<Error>,
        is_safe: bool,
        was_reused: bool,
        now_us: u64,
    ) -> Box<Error> {
        if *error.esource() != ErrorSource::Upstream {
            error.set_retry(false);
            return error;
        }
        self.broken(&error, was_reused, now_us);
        error.set_retry(is_safe && self.may_retry(now_us));
        error
    }

    fn broken(&mut self, error: &Error, was_reused: bool, now_us: u64) {
        self.ended(None, now_us);
        // A server may end an idle connection just when it is used again: that is neither a failure
        // nor an attempt.
        let is_stale = was_reused && matches!(error.retry, RetryType::ReusedOnly);
        if is_stale && self.stale_count < STALE_MAX {
            self.stale_count += 1;
            self.is_owed = true;
            self.attempts -= 1;
            if let Some(lease) = self.lease.take() {
                self.tried &= !(1 << lease.place);
            }
        } else {
            self.failed(now_us);
        }
    }

    fn failed(&mut self, now_us: u64) {
        if let Some(lease) = self.lease.take() {
            lease.failed(now_us);
        }
    }

    fn may_retry(&self, now_us: u64) -> bool {
        self.attempts <= self.group.spec.retries
            && self.in_time().is_ok()
            && self.group.candidates(now_us, self.tried) != 0
            && (self.is_owed || self.group.may_retry())
    }

    /// Whether the next attempt is to be made by a new connection: kept ones are closed by now.
    pub(crate) fn wants_new(&self) -> bool {
        self.stale_count > 0
    }

    /// The request is over, well or with `error`.
    pub(crate) fn finish(&mut self, error: Option<&Error>, now_us: u64) {
        let of_upstream = error.is_some_and(|error| *error.esource() == ErrorSource::Upstream);
        let answered = self.status != 0;
        self.beside = None;
        if let Some(lease) = self.lease.take()
            && answered
            && !of_upstream
        {
            lease.succeeded(now_us);
        }
        let how = match (error, answered) {
            _ if of_upstream || self.status >= 500 => Ended::Badly,
            (Some(error), false)
                if *error.esource() != ErrorSource::Downstream
                    && matches!(error.etype(), ErrorType::HTTPStatus(500..)) =>
            {
                Ended::Badly
            }
            (None, _) | (Some(_), true) => Ended::Well,
            (Some(_), false) => Ended::Unknown,
        };
        self.group.ended(how, now_us);
    }
}

/// The status that a failure is answered with; 0 where nobody is left to read it.
pub(crate) fn status_of(error: &Error) -> u16 {
    use ErrorType::{
        ConnectTimedout, ConnectionClosed, HTTPStatus, ReadError, ReadTimedout,
        TLSHandshakeTimedout, WriteError, WriteTimedout,
    };
    match (error.esource(), error.etype()) {
        (_, HTTPStatus(status)) => *status,
        (ErrorSource::Upstream, ConnectTimedout | TLSHandshakeTimedout) => 504,
        (ErrorSource::Upstream, ReadTimedout | WriteTimedout) => 504,
        (ErrorSource::Upstream, _) => 502,
        (ErrorSource::Downstream, WriteError | ReadError | ConnectionClosed) => 0,
        (ErrorSource::Downstream, _) => 400,
        _ => 500,
    }
}
