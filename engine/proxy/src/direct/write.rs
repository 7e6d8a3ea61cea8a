//! Owns the bytes of direct answers: what is made once, what each answer adds to that, and what is
//! counted and logged once it is out.
//!
//! Refuses to decide which answer it is. Bound: one answer.

use std::cell::RefCell;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt;
use truststram_base::Clock;

use super::caller::Caller;
use super::decide::Request;
use super::prepared::Prepared;
use super::ready::{Answered, COPIED_BYTES_MAX, Ready, Record};
use crate::app::App;
use crate::cache::http_date;
use crate::context::next_id;
use crate::dressing::dress;
use crate::limit::{InFlight, LimitHeaders};
use crate::live::Table;
use crate::route::edit::Headers;
use crate::route::spec::Scheme;

impl App {
    pub(super) fn ready(
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

    pub(super) fn finish(
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
            let proxying = None;
            let answered =
                Answered { status, table, route, duration_us, body_bytes_sent, proxying };
            self.log_direct(record, &answered, caller.ends());
        }
    }
}

/// What `response` is to every client that comes by `scheme`.
pub(super) fn prepared(
    response: Response<Body>,
    table: &Table,
    scheme: Scheme,
) -> Option<Prepared> {
    let (mut parts, body) = response.into_parts();
    dress(table, scheme, (parts.status, &mut parts.headers));
    body.size_hint().exact()?;
    // A body whose size is known is there already.
    let whole = futures_util::FutureExt::now_or_never(body.collect())?.ok()?.to_bytes();
    Prepared::new(parts.status, parts.headers, whole)
}

/// A head of what never changes and of what limits say.
pub(super) fn begin_head(made: &Prepared, limited: &LimitHeaders) -> Vec<u8> {
    let body_bytes = if made.body.len() <= COPIED_BYTES_MAX { made.body.len() } else { 0 };
    let mut head = Vec::with_capacity(made.head.len() + 512 + body_bytes);
    head.extend_from_slice(&made.head);
    limited.write(&mut Lines(&mut head));
    head
}

/// Fields as lines.
struct Lines<'a>(&'a mut Vec<u8>);

impl Headers for Lines<'_> {
    fn has(&self, _name: &HeaderName) -> bool {
        false
    }

    fn remove(&mut self, _name: &HeaderName) {}

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        put(self.0, name.as_str().as_bytes(), value.as_bytes());
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.set(name, value);
    }
}

pub(super) fn put(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
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

pub(super) fn write_date(head: &mut Vec<u8>, clock: &dyn Clock, now_us: u64) {
    DATE.with_borrow_mut(|(at_us, text)| {
        if at_us.is_none_or(|at_us| now_us.abs_diff(at_us) >= DATE_US) {
            *at_us = Some(now_us);
            *text = http_date(clock.utc_us().div_euclid(1_000_000)).into_bytes();
        }
        put(head, b"Date", text);
    });
}
