//! Owns which plain requests are answered directly or passed on, by the same routes, limits and
//! cache as all others.
//!
//! Refuses what has to wait for anybody but a server. Bound: one request; nothing is counted of one
//! that is left to Pingora.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Method};
use truststram_base::Access;

use super::admitted::Admitted;
use super::caller::Caller;
use super::local::Local;
use super::passing::Passing;
use super::plain::{Plain, no_fields};
use super::prepared::Prepared;
use super::ready::Ready;
use super::write::{begin_head, prepared};

use crate::answering::rewritten;
use crate::app::App;
use crate::cache::Hit;
use crate::canned::fixed;
use crate::context::next_id;
use crate::forwarded;
use crate::limit::{InFlight, LimitHeaders, Subject};
use crate::limiting::{Gate, Passage};
use crate::live::Table;
use crate::overload::RoutePriority;
use crate::proxying::Proxying;
use crate::refusal::Refusal;
use crate::route::compile::{Action, Route};
use crate::route::spec::Scheme;
use crate::route::table::{Asked, Found, HOST_BYTES_MAX, host_of};
use crate::upstream::group::Group;
use crate::upstream::spec::Protocol;

/// What a route has at hand.
enum Candidate<'a> {
    Fixed(&'a Prepared),
    Hit(Hit),
    /// A server is asked.
    Pass(&'a Arc<Group>),
    /// The router is.
    Call,
}

/// What becomes of a request.
pub(super) enum Done {
    Answered(Box<Ready>),
    /// It is passed on.
    Passing(Box<Passing>),
    /// The router answers it.
    Calling(Box<Local>),
    /// Some of its body is missing.
    Begun,
}

/// A request and what it is judged by.
pub(super) struct Request<'a> {
    read: &'a [u8],
    pub(super) plain: &'a Plain<'a>,
    caller: &'a Caller,
    /// The client's address, and whether it is told by a trusted proxy.
    whose: (IpAddr, bool),
    pub(super) table: &'a Arc<Table>,
    host: &'a str,
    /// The fields, where routes or limits read any.
    headers: &'a HeaderMap,
    pub(super) began_us: u64,
    pub(super) keeps: bool,
}

impl Request<'_> {
    /// The request as one that limits let through, or that they refused.
    fn admitted(&self, place: Option<usize>, in_flight: InFlight) -> Admitted {
        Admitted {
            table: self.table.clone(),
            place,
            _in_flight: in_flight,
            id: next_id(),
            began_us: self.began_us,
            keeps: self.keeps,
            scheme: self.caller.scheme(),
            client: self.whose.0,
            is_trusted: self.whose.1,
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            client: Some(self.whose.0),
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
        let peer = caller.peer()?;
        if !table.is_direct(caller.scheme()) || caller.is_known {
            return None;
        }
        let mut fields = no_fields();
        let plain = Plain::read(read, &mut fields)?;
        let tells_page = plain.has_origin && table.cors.is_some();
        if tells_page || (plain.is_special && self.guard.is_some() && table.asks_anybody) {
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
        let is_trusted = table.trusted.contains(peer);
        let client = match is_trusted {
            true => forwarded::client(plain.headers(), peer, &table.trusted, table.real_ip),
            false => peer.to_canonical(),
        };
        let whose = (client, is_trusted);
        let request = Request { read, plain, caller, whose, table, host, headers, began_us, keeps };
        let asked = Asked {
            host,
            path: plain.path,
            method: &plain.method,
            headers,
            scheme: caller.scheme(),
        };
        // Without routes all is for the router.
        let place = if table.routes.is_empty() {
            None
        } else {
            let Found::Route(place) = table.routes.find(&asked) else { return None };
            Some(place)
        };
        let route = place.and_then(|place| table.routes.get(place));
        let gates = [table.gate.as_ref(), route.and_then(|route| route.gate.as_ref())];
        let priority = route.map_or(RoutePriority::Normal, |route| route.priority);
        let waits = gates.iter().flatten().any(|gate| gate.may_wait());
        if waits || self.may_hold(table, priority) {
            return None;
        }
        let is_call = self.may_call(&request, route);
        // What others do with a body is for Pingora.
        if plain.method == Method::POST && !is_call {
            return None;
        }
        if plain.missing > 0 {
            return Some(Done::Begun);
        }
        let call = is_call.then_some(Candidate::Call);
        match call.or_else(|| self.candidate(&request, route?)) {
            Some(candidate) => self.pass(&request, place, gates, candidate),
            None if plain.is_special => None,
            None => self.refuse_early(&request, place?, gates).map(Done::Answered),
        }
    }

    /// Whether the router answers the request, and may be asked by everybody.
    fn may_call(&self, request: &Request<'_>, route: Option<&Route>) -> bool {
        let (table, plain) = (request.table, request.plain);
        let is_plain = route.is_none_or(|route| {
            matches!(route.action, Action::Local)
                && route.rewrite.is_none()
                && route.request_edits.is_empty()
                && route.response_edits.is_empty()
                && route.auth.is_required != Some(true)
                && !route.auth.needs_certificate
        });
        if !is_plain {
            return false;
        }
        let is_open = self.guard.as_ref().is_none_or(|guard| {
            let asks_nobody = !guard.is_required && !table.asks_anybody;
            asks_nobody && (guard.access)(&plain.method, plain.path) != Access::Proof
        });
        let limit = route.and_then(|route| route.body_bytes_max).unwrap_or(self.body_bytes_max);
        is_open
            && plain.body.len() + plain.missing <= limit
            && !plain.has_encoded_body()
            && !(self.streams)(&plain.method, plain.path)
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
                    prepared(fixed(*status, body.clone()), table, scheme)
                        .filter(|made| made.status >= 200)
                });
                made.as_ref().map(Candidate::Fixed)
            }
            // What is stored says nothing to pages.
            Action::Upstream(_) if route.is_cached && request.table.cors.is_none() => {
                let cache = &self.cached.as_ref()?.cache;
                let (plain, scheme) = (request.plain, request.caller.scheme().name());
                let headers = || plain.headers();
                let rules = &route.cache_rules;
                if rules.bypasses(headers, plain.query()) {
                    return None;
                }
                let asked = (scheme, plain.authority, plain.target);
                cache.hit(asked, rules, headers, request.began_us).map(Candidate::Hit)
            }
            _ => None,
        }
    }

    /// Whether the request may have to wait for others, or is refused for the sake of them.
    fn may_hold(&self, table: &Table, priority: RoutePriority) -> bool {
        let Some(live) = &self.live else { return false };
        table.overload.as_ref().is_some_and(|spec| spec.may_hold(priority, live.valve()))
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
        place: Option<usize>,
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
                    let route = place.filter(|_| index > 0);
                    let refused = self.refusal(request, route, gate.status, &limited);
                    return refused.map(Done::Answered);
                }
            }
        }
        let admitted = request.admitted(place, in_flight);
        Some(Done::Answered(match candidate {
            Candidate::Pass(group) => return self.passing(request, (admitted, limited), group),
            Candidate::Call => return self.calling(request, admitted, limited),
            Candidate::Fixed(made) => self.ready(request, admitted, &limited, made),
            Candidate::Hit(hit) => {
                let made = hit.prepared()?;
                let mut head = begin_head(made, &limited);
                hit.write(&mut head);
                self.cached.as_ref()?.cache.stats().hits.add(1);
                self.finish(request, admitted, (made.status, head, made.body.clone()))
            }
        }))
    }

    /// A request on its way to the router.
    fn calling(
        &self,
        request: &Request<'_>,
        admitted: Admitted,
        limited: LimitHeaders,
    ) -> Option<Done> {
        let plain = request.plain;
        let mut asked = http::Request::new(Body::from(Bytes::copy_from_slice(plain.body)));
        *asked.method_mut() = plain.method.clone();
        *asked.uri_mut() = plain.target.parse().ok()?;
        *asked.headers_mut() = plain.headers().clone();
        asked.extensions_mut().insert(admitted.id);
        let logs = self.logs(&admitted, plain.path);
        let logged = if logs { Some(plain.to_header()?) } else { None };
        Some(Done::Calling(Box::new(Local { request: asked, admitted, limited, logged })))
    }

    /// A request on its way to a server of `group`, or the answer that it gets because the group
    /// takes none.
    fn passing(
        &self,
        request: &Request<'_>,
        (admitted, limited): (Admitted, LimitHeaders),
        group: &Arc<Group>,
    ) -> Option<Done> {
        let plain = request.plain;
        let route = admitted.route()?;
        let path = rewritten(route, &plain.method, plain.path);
        let refusal = match path {
            Err(refusal) => refusal,
            Ok(_) if !group.admits(request.began_us) => Refusal::broken(group.name()),
            Ok(path) => {
                let now = Instant::now();
                let mut proxying = Proxying::new(group.clone(), route.timeouts, now, 0);
                proxying.take_key(plain.path, || plain.headers(), Some(request.whose.0));
                proxying.path = path;
                let (read, method) = (request.read.into(), plain.method.clone());
                let passing = Passing { admitted, limited, read, method, proxying };
                return Some(Done::Passing(Box::new(passing)));
            }
        };
        let response = (self.reject)(&plain.target.parse().ok()?, &refusal);
        let made = prepared(response, &admitted.table, admitted.scheme)?;
        Some(Done::Answered(self.ready(request, admitted, &limited, &made)))
    }

    /// Refuses what a limit refuses whatever comes behind it.
    fn refuse_early(
        &self,
        request: &Request<'_>,
        place: usize,
        [every, own]: [Option<&Gate>; 2],
    ) -> Option<Box<Ready>> {
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
    ) -> Option<Box<Ready>> {
        let (table, scheme) = (request.table, request.caller.scheme());
        let kind = (status, request.plain.path, scheme);
        let made = self.refusals.of(table.number, kind, || {
            let uri = request.plain.target.parse().ok()?;
            let mut response = (self.reject)(&uri, &Refusal::too_many(status));
            // Each says for itself when to come again.
            response.headers_mut().remove(RETRY_AFTER);
            prepared(response, table, scheme)
        })?;
        let admitted = request.admitted(route, InFlight::default());
        Some(self.ready(request, admitted, limited, &made))
    }
}
