//! Owns which plain requests are answered directly or passed on, by the same routes, limits and
//! cache as all others.
//!
//! Refuses what has to wait for anybody but a server. Bound: one request; nothing is counted of one
//! that is left to Pingora.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use pingora_core::protocols::IO;
use pingora_core::protocols::l4::socket::SocketAddr as AnySocketAddr;

use super::passing::Passing;
use super::plain::{Plain, no_fields};
use super::prepared::Prepared;
use super::ready::Ready;
use super::write::{begin_head, prepared, put};
use crate::answering::{fixed, rewritten};
use crate::app::App;
use crate::cache::Hit;
use crate::connection::shared_of;
use crate::context::next_id;
use crate::forwarded::{self, Origin};
use crate::limit::{InFlight, LimitHeaders, Subject};
use crate::limiting::{Gate, Passage};
use crate::live::Table;
use crate::logging::Ends;
use crate::proxying::Proxying;
use crate::refusal::Refusal;
use crate::route::compile::{Action, Route};
use crate::route::spec::Scheme;
use crate::route::table::{Asked, Found, HOST_BYTES_MAX, host_of};
use crate::upstream::group::Group;
use crate::upstream::spec::Protocol;

/// Who is at the other end of a connection.
pub(super) struct Caller {
    ends: Ends,
    /// Whether it may have proved who it is by its certificate.
    is_known: bool,
    /// What servers are told of it, and the host for which they were told so.
    told: Mutex<(String, Vec<u8>)>,
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
            told: Mutex::default(),
        }
    }

    /// Its address.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.ends.peer.map(|peer| peer.ip())
    }

    /// What servers are told of where a request comes from.
    pub(super) fn origin<'a>(&self, host: &'a HeaderValue) -> Option<Origin<'a>> {
        let (peer, scheme) = (self.client()?, self.scheme().name());
        let client = peer.to_canonical();
        // Requests of trusted peers are not answered here.
        Some(Origin { peer, client, is_trusted: false, scheme, host })
    }

    /// Writes that as the lines of a head; most connections ask for one host.
    pub(super) fn tell(&self, host: &str, bytes: &mut Vec<u8>) -> Option<()> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.1.is_empty() || told.0 != host {
            let value = HeaderValue::from_str(host).ok()?;
            told.1.clear();
            for (name, value) in forwarded::told(&HeaderMap::new(), &self.origin(&value)?) {
                put(&mut told.1, name.as_str().as_bytes(), value.as_bytes());
            }
            host.clone_into(&mut told.0);
        }
        bytes.extend_from_slice(&told.1);
        Some(())
    }

    pub(super) fn ends(&self) -> &Ends {
        &self.ends
    }

    pub(super) fn scheme(&self) -> Scheme {
        if self.ends.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }
}

/// What a route has at hand.
enum Candidate<'a> {
    Fixed(&'a Prepared),
    Hit(Hit),
    /// A server is asked.
    Pass(&'a Arc<Group>),
}

/// What becomes of a request.
pub(super) enum Done {
    Answered(Ready),
    /// It is passed on.
    Passing(Box<Passing>),
}

/// A request and what it is judged by.
pub(super) struct Request<'a> {
    read: &'a [u8],
    pub(super) plain: &'a Plain<'a>,
    pub(super) caller: &'a Caller,
    pub(super) table: &'a Arc<Table>,
    host: &'a str,
    /// The fields, where routes or limits read any.
    headers: &'a HeaderMap,
    pub(super) began_us: u64,
    pub(super) keeps: bool,
}

impl Request<'_> {
    fn subject(&self) -> Subject<'_> {
        Subject {
            client: self.caller.client(),
            headers: self.headers,
            host: self.host,
            path: self.plain.path,
            identity: None,
        }
    }
}

impl App {
    /// What becomes of what was read, if that is a plain request that is answered or passed on
    /// without Pingora's proxy; `keeps` says whether the connection stays open behind it.
    pub(super) fn answer_directly(
        &self,
        read: &[u8],
        caller: &Caller,
        keeps: bool,
    ) -> Option<Done> {
        let table = self.live.as_ref()?.table();
        let peer = caller.ends.peer?.ip();
        let is_trusted = table.trusted.contains(peer) || caller.is_known;
        if !table.is_direct || is_trusted {
            return None;
        }
        let mut fields = no_fields();
        let plain = Plain::read(read, &mut fields)?;
        if plain.is_special && self.guard.is_some() && table.asks_anybody {
            return None;
        }
        let began_us = self.clock.monotonic_us();
        let mut buffer = [0; HOST_BYTES_MAX];
        let host = host_of(plain.authority, &mut buffer);
        if host.is_empty() {
            return None;
        }
        let none = HeaderMap::new();
        let headers = if table.reads_headers { plain.headers() } else { &none };
        let plain = &plain;
        let table = &table;
        let request = Request { read, plain, caller, table, host, headers, began_us, keeps };
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
        if gates.iter().flatten().any(|gate| gate.may_wait()) || self.may_hold(table, route) {
            return None;
        }
        match self.candidate(&request, route) {
            Some(candidate) => self.pass(&request, place, gates, candidate),
            None if plain.is_special => None,
            None => self.refuse_early(&request, place, gates).map(Done::Answered),
        }
    }

    /// What `route` has at hand for the request.
    fn candidate<'a>(&self, request: &Request<'_>, route: &'a Route) -> Option<Candidate<'a>> {
        if self.asks(request.table, route) {
            return None;
        }
        if let Action::Upstream(group) = &route.action
            && (!route.is_cached || self.cached.is_none())
        {
            return self.may_pass(request.table, group).then_some(Candidate::Pass(group));
        }
        if request.plain.is_special || !route.response_edits.is_empty() {
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

    /// Whether requests to `group` are passed on here.
    fn may_pass(&self, table: &Table, group: &Group) -> bool {
        let tells_nobody = self.guard.is_none() || !table.asks_anybody;
        tells_nobody && group.spec.protocol == Protocol::Http && group.is_closed()
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
    ) -> Option<Done> {
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
                    let refused = self.refusal(request, route, gate.status, &limited);
                    return refused.map(Done::Answered);
                }
            }
        }
        Some(Done::Answered(match candidate {
            Candidate::Pass(group) => {
                return self.passing(request, place, group, (limited, in_flight));
            }
            Candidate::Fixed(made) => self.ready(request, Some(place), made, &limited, in_flight),
            Candidate::Hit(hit) => {
                let made = hit.prepared()?;
                let mut head = begin_head(made, &limited);
                hit.write(&mut head);
                self.cached.as_ref()?.cache.stats().hits.add(1);
                let answer = (made.status, head, made.body.clone());
                self.finish(request, Some(place), answer, in_flight)
            }
        }))
    }

    /// A request on its way to a server of `group`, or the answer that it gets because the group
    /// takes none.
    fn passing(
        &self,
        request: &Request<'_>,
        place: usize,
        group: &Arc<Group>,
        (limited, in_flight): (LimitHeaders, InFlight),
    ) -> Option<Done> {
        let (table, plain, scheme) = (request.table, request.plain, request.caller.scheme());
        let route = table.routes.get(place)?;
        let path = rewritten(route, &plain.method, plain.path);
        let refusal = match path {
            Err(refusal) => refusal,
            Ok(_) if !group.admits(request.began_us) => Refusal::broken(group.name()),
            Ok(path) => {
                let now = Instant::now();
                let mut proxying = Proxying::new(group.clone(), route.timeouts, now, 0);
                proxying.take_key(plain.path, || plain.headers(), request.caller.client());
                proxying.path = path;
                return Some(Done::Passing(Box::new(Passing {
                    read: request.read.into(),
                    method: plain.method.clone(),
                    table: table.clone(),
                    place,
                    proxying,
                    limited,
                    _in_flight: in_flight,
                    id: next_id(),
                    began_us: request.began_us,
                    keeps: request.keeps,
                    scheme,
                })));
            }
        };
        let response = (self.reject)(&plain.target.parse().ok()?, &refusal);
        let made = prepared(response, table, scheme)?;
        Some(Done::Answered(self.ready(request, Some(place), &made, &limited, in_flight)))
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
}
