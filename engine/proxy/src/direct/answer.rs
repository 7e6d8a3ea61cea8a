//! Owns which plain requests are answered directly, and with what: by the same routes, limits and
//! cache as all others, and with the same fields.
//!
//! Refuses what has to wait for anybody. Bound: one request; nothing is counted of one that is left
//! to Pingora.

use std::cell::RefCell;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt;
use pingora_core::protocols::IO;
use pingora_core::protocols::l4::socket::SocketAddr as AnySocketAddr;
use truststram_base::Clock;

use super::plain::{Plain, no_fields};
use super::prepared::Prepared;
use super::ready::{Answered, COPIED_BYTES_MAX, Ready, Record};
use crate::answering::{dress, fixed};
use crate::app::App;
use crate::cache::{Hit, http_date};
use crate::connection::shared_of;
use crate::context::next_id;
use crate::limit::{InFlight, LimitHeaders, Subject};
use crate::limiting::{Gate, Passage};
use crate::live::Table;
use crate::logging::Ends;
use crate::refusal::Refusal;
use crate::route::compile::{Action, Route};
use crate::route::edit::Headers;
use crate::route::spec::Scheme;
use crate::route::table::{Asked, Found, HOST_BYTES_MAX, host_of};

/// Who is at the other end of a connection.
pub(super) struct Caller {
    ends: Ends,
    /// Whether it may have proved who it is by its certificate.
    is_known: bool,
}

impl Caller {
    pub(super) fn of(stream: &impl IO) -> Self {
        let inet = |address: &AnySocketAddr| address.as_inet().copied();
        let socket = stream.get_socket_digest();
        let socket = socket.as_deref();
        let digest = stream.get_proxy_digest();
        Self {
            ends: Ends {
                peer: socket.and_then(|socket| socket.peer_addr().and_then(inet)),
                server: socket.and_then(|socket| socket.local_addr().and_then(inet)),
                tls: stream.get_ssl_digest(),
            },
            is_known: digest.is_some_and(|digest| {
                shared_of(&digest).is_none_or(|shared| shared.names.get().is_some())
            }),
        }
    }

    fn scheme(&self) -> Scheme {
        if self.ends.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }
}

/// What a route has at hand.
enum Candidate<'a> {
    Fixed(&'a Prepared),
    Hit(Hit),
}

/// A request and what it is judged by.
struct Request<'a> {
    plain: &'a Plain<'a>,
    caller: &'a Caller,
    table: &'a Arc<Table>,
    host: &'a str,
    /// The fields, where routes or limits read any.
    headers: &'a HeaderMap,
    began_us: u64,
    keeps: bool,
}

impl Request<'_> {
    fn subject(&self) -> Subject<'_> {
        Subject {
            client: self.caller.ends.peer.map(|peer| peer.ip()),
            headers: self.headers,
            host: self.host,
            path: self.plain.path,
            identity: None,
        }
    }
}

impl App {
    /// The answer to what was read, if that is a plain request and its answer is at hand; `keeps`
    /// says whether the connection stays open behind it.
    pub(super) fn answer_directly(
        &self,
        read: &[u8],
        caller: &Caller,
        keeps: bool,
    ) -> Option<Ready> {
        let table = self.live.as_ref()?.table();
        let peer = caller.ends.peer?.ip();
        let is_trusted = table.trusted.contains(peer) || caller.is_known;
        if !table.is_direct || is_trusted {
            return None;
        }
        let mut fields = no_fields();
        let plain = Plain::read(read, &mut fields)?;
        let began_us = self.clock.monotonic_us();
        let mut buffer = [0; HOST_BYTES_MAX];
        let host = host_of(plain.authority, &mut buffer);
        if host.is_empty() {
            return None;
        }
        let none = HeaderMap::new();
        let headers = if table.reads_headers { plain.headers() } else { &none };
        let plain = &plain;
        let request = Request { plain, caller, table: &table, host, headers, began_us, keeps };
        let asked = Asked {
            host,
            path: plain.path,
            method: &plain.method,
            headers,
            scheme: caller.scheme(),
        };
        let Found::Route(place) = table.routes.find(&asked) else { return None };
        let route = table.routes.get(place)?;
        let gates = [table.gate.as_ref(), route.gate.as_ref()];
        if gates.iter().flatten().any(|gate| gate.may_wait()) || self.may_hold(&table, route) {
            return None;
        }
        match self.candidate(&request, route) {
            Some(candidate) => self.pass(&request, place, gates, candidate),
            None => self.refuse_early(&request, place, gates),
        }
    }

    /// What `route` has at hand for the request.
    fn candidate<'a>(&self, request: &Request<'_>, route: &'a Route) -> Option<Candidate<'a>> {
        if self.asks(request.table, route) || !route.response_edits.is_empty() {
            return None;
        }
        match &route.action {
            Action::Answer(status, body) if route.rewrite.is_none() => {
                let (table, scheme) = (request.table, request.caller.scheme());
                let at = usize::from(scheme == Scheme::Https);
                let made = route.prepared[at].get_or_init(|| {
                    prepared(fixed(*status, body), table, scheme).filter(|made| made.status >= 200)
                });
                made.as_ref().map(Candidate::Fixed)
            }
            Action::Upstream(_) if route.is_cached => {
                let cache = &self.cached.as_ref()?.cache;
                let (plain, scheme) = (request.plain, request.caller.scheme().name());
                let headers = || plain.headers();
                let asked = (scheme, plain.authority, plain.target);
                cache.hit(asked, headers, request.began_us).map(Candidate::Hit)
            }
            _ => None,
        }
    }

    /// Whether the request may have to wait for others, or is refused for the sake of them.
    fn may_hold(&self, table: &Table, route: &Route) -> bool {
        let Some(live) = &self.live else { return false };
        table.overload.as_ref().is_some_and(|spec| spec.may_hold(route.priority, live.valve()))
    }

    /// Whether it must be known who asks.
    fn asks(&self, table: &Table, route: &Route) -> bool {
        if route.auth.needs_certificate {
            return true;
        }
        let Some(guard) = &self.guard else { return false };
        let usual = guard.is_required || table.auth.is_required;
        let usual = usual && matches!(route.action, Action::Upstream(_));
        route.auth.is_required.unwrap_or(usual)
    }

    /// Takes the request through the limits to what is at hand for it.
    fn pass(
        &self,
        request: &Request<'_>,
        place: usize,
        gates: [Option<&Gate>; 2],
        candidate: Candidate<'_>,
    ) -> Option<Ready> {
        let (mut limited, mut in_flight) = (LimitHeaders::default(), InFlight::default());
        for (index, gate) in gates.into_iter().enumerate() {
            let Some(gate) = gate else { continue };
            let (headers, passage) =
                gate.pass(&request.subject(), request.began_us / 1_000, &*self.clock);
            limited = limited.and(headers);
            match passage {
                Passage::Open { in_flight: held, .. } => in_flight.extend(held),
                // What the first gate refuses has reached no route.
                Passage::Closed => {
                    let route = (index > 0).then_some(place);
                    return self.refusal(request, route, gate.status, &limited);
                }
            }
        }
        Some(match candidate {
            Candidate::Fixed(made) => self.ready(request, Some(place), made, &limited, in_flight),
            Candidate::Hit(hit) => {
                let made = hit.prepared()?;
                let mut head = begin_head(made, &limited);
                hit.write(&mut head);
                self.cached.as_ref()?.cache.stats().hits.add(1);
                let answer = (made.status, head, made.body.clone());
                self.finish(request, Some(place), answer, in_flight)
            }
        })
    }

    /// Refuses what a limit refuses whatever comes behind it.
    fn refuse_early(
        &self,
        request: &Request<'_>,
        place: usize,
        [every, own]: [Option<&Gate>; 2],
    ) -> Option<Ready> {
        let now_ms = request.began_us / 1_000;
        let refused = |gate: Option<&Gate>| {
            let gate = gate?;
            gate.refuses(&request.subject(), now_ms).map(|headers| (gate.status, headers))
        };
        if let Some((status, headers)) = refused(every) {
            return self.refusal(request, None, status, &headers);
        }
        let (status, headers) = refused(own)?;
        let mut limited = LimitHeaders::default();
        if let Some(every) = every {
            // It let the request through, which counts there.
            let (headers, passage) = every.pass(&request.subject(), now_ms, &*self.clock);
            limited = headers;
            if matches!(passage, Passage::Closed) {
                return self.refusal(request, None, every.status, &limited);
            }
        }
        self.refusal(request, Some(place), status, &limited.and(headers))
    }

    fn refusal(
        &self,
        request: &Request<'_>,
        route: Option<usize>,
        status: u16,
        limited: &LimitHeaders,
    ) -> Option<Ready> {
        let (table, scheme) = (request.table, request.caller.scheme());
        let kind = (status, request.plain.path, scheme);
        let made = self.refusals.of(table.number, kind, || {
            let uri = request.plain.target.parse().ok()?;
            let mut response = (self.reject)(&uri, &Refusal::too_many(status));
            // Each says for itself when to come again.
            response.headers_mut().remove(RETRY_AFTER);
            prepared(response, table, scheme)
        })?;
        Some(self.ready(request, route, &made, limited, InFlight::default()))
    }

    fn ready(
        &self,
        request: &Request<'_>,
        route: Option<usize>,
        made: &Prepared,
        limited: &LimitHeaders,
        in_flight: InFlight,
    ) -> Ready {
        let mut head = begin_head(made, limited);
        write_date(&mut head, &*self.clock, request.began_us);
        self.finish(request, route, (made.status, head, made.body.clone()), in_flight)
    }

    fn finish(
        &self,
        request: &Request<'_>,
        route: Option<usize>,
        (status, mut head, body): (u16, Vec<u8>, Bytes),
        in_flight: InFlight,
    ) -> Ready {
        self.stats.direct.add(1);
        let id = next_id();
        put(&mut head, b"x-request-id", &id.to_hex());
        put(&mut head, b"Connection", if request.keeps { b"keep-alive" } else { b"close" });
        head.extend_from_slice(b"\r\n");
        let is_head = request.plain.method == Method::HEAD;
        let body = if is_head { Bytes::new() } else { body };
        let record = self.access_log.as_ref().and_then(|_| {
            let (path, table) = (request.plain.path, request.table);
            let route = route.and_then(|place| table.routes.get(place));
            if !table.access.takes(route, path) {
                return None;
            }
            let head = Bytes::copy_from_slice(&head);
            Some(Box::new(Record { request: request.plain.to_header()?, head, id }))
        });
        let reached = (request.table.clone(), route);
        let when = (request.began_us, request.keeps);
        let mut ready = Ready::new((status, head, body), reached, when, in_flight);
        ready.record = record;
        ready
    }

    /// Counts and logs an answer that is out, or that could not be sent whole.
    pub(super) fn sent(&self, answer: &Ready, caller: &Caller, is_whole: bool) {
        let duration_us = self.clock.monotonic_us().saturating_sub(answer.began_us);
        self.stats.answered(answer.status, duration_us);
        let route = answer.route.and_then(|place| answer.table.routes.get(place));
        if let Some(route) = route {
            route.stats.answered(answer.status, duration_us);
        }
        if !is_whole {
            self.stats.broken.add(1);
        }
        if let Some(record) = &answer.record {
            let (status, route) = (answer.status, answer.route);
            let body_bytes_sent = answer.sent().saturating_sub(record.head.len());
            let table = &answer.table;
            let answered = Answered { status, table, route, duration_us, body_bytes_sent };
            self.log_direct(record, &answered, &caller.ends);
        }
    }
}

/// What `response` is to every client that comes by `scheme`.
fn prepared(response: Response<Body>, table: &Table, scheme: Scheme) -> Option<Prepared> {
    let (mut parts, body) = response.into_parts();
    dress(table, scheme, &mut parts.headers);
    body.size_hint().exact()?;
    // A body whose size is known is there already.
    let whole = futures_util::FutureExt::now_or_never(body.collect())?.ok()?.to_bytes();
    Prepared::new(parts.status, parts.headers, whole)
}

/// A head of what never changes and of what limits say.
fn begin_head(made: &Prepared, limited: &LimitHeaders) -> Vec<u8> {
    let body_bytes = if made.body.len() <= COPIED_BYTES_MAX { made.body.len() } else { 0 };
    let mut head = Vec::with_capacity(made.head.len() + 512 + body_bytes);
    head.extend_from_slice(&made.head);
    limited.write(&mut Lines(&mut head));
    head
}

/// Fields as lines.
struct Lines<'a>(&'a mut Vec<u8>);

impl Headers for Lines<'_> {
    fn remove(&mut self, _name: &HeaderName) {}

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        put(self.0, name.as_str().as_bytes(), value.as_bytes());
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.set(name, value);
    }
}

fn put(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    head.extend_from_slice(name);
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// How long a date that was written is still the time.
const DATE_US: u64 = 250_000;

thread_local! {
    /// When a date was written, and the date.
    static DATE: RefCell<(Option<u64>, Vec<u8>)> = const { RefCell::new((None, Vec::new())) };
}

fn write_date(head: &mut Vec<u8>, clock: &dyn Clock, now_us: u64) {
    DATE.with_borrow_mut(|(at_us, text)| {
        if at_us.is_none_or(|at_us| now_us.abs_diff(at_us) >= DATE_US) {
            *at_us = Some(now_us);
            *text = http_date(clock.utc_us().div_euclid(1_000_000)).into_bytes();
        }
        put(head, b"Date", text);
    });
}
