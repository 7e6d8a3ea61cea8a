//! Owns the bytes of direct answers: what is made once, and what each answer adds to that.
//!
//! Refuses to decide which answer it is. Bound: one answer.

use std::cell::{Cell, RefCell};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::header::DATE;
use http::{HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt;
use pingora_http::ResponseHeader;

use super::admitted::{Admitted, Answered, Record};
use super::caller::Caller;
use super::decide::Request;
use super::prepared::Prepared;
use super::ready::{COPIED_BYTES_MAX, Ready};
use super::relay::write_lines;
use crate::app::App;
use crate::cache::http_date;
use crate::dressing::dress_plain;
use crate::limit::LimitHeaders;
use crate::live::Table;
use crate::route::edit::Headers;
use crate::route::spec::Scheme;

impl App {
    pub(super) fn ready(
        &self,
        request: &Request<'_>,
        admitted: Admitted,
        limited: &LimitHeaders,
        made: &Prepared,
    ) -> Box<Ready> {
        let mut head = begin_head(made, limited);
        self.write_date(&mut head, admitted.began_us);
        self.finish(request, admitted, (made.status, head, made.body.clone()))
    }

    pub(super) fn finish(
        &self,
        request: &Request<'_>,
        admitted: Admitted,
        (status, mut head, body): (u16, Vec<u8>, Bytes),
    ) -> Box<Ready> {
        self.stats.direct.add(1);
        put(&mut head, b"x-request-id", &admitted.id.to_hex());
        end_head(&mut head, admitted.keeps);
        let plain = request.plain;
        let body = if plain.method == Method::HEAD { Bytes::new() } else { body };
        let logged = self.logs(&admitted, plain.path).then(|| plain.to_header()).flatten();
        let record = logged.map(|request| {
            let head = Bytes::copy_from_slice(&head);
            Box::new(Record { request, head })
        });
        Ready::new(admitted, (status, head, body), record)
    }

    /// Counts and logs an answer that is out, or that could not be sent whole.
    pub(super) fn sent(&self, answer: &Ready, caller: &Caller, is_whole: bool) {
        let record = answer.record.as_deref();
        let head_bytes = record.map_or(0, |record| record.head.len());
        let body_bytes_sent = answer.sent().saturating_sub(head_bytes);
        let status = answer.status;
        let answered = Answered { status, is_whole, body_bytes_sent, proxying: None };
        self.over(&answer.admitted, &answered, record, caller);
    }

    /// A head as bytes, with `room` for more; one without a date gets that of now.
    pub(super) fn written(&self, head: &ResponseHeader, began_us: u64, room: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(room);
        write_lines(head, &mut bytes);
        if !head.headers.contains_key(DATE) {
            self.write_date(&mut bytes, began_us);
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    pub(super) fn write_date(&self, head: &mut Vec<u8>, now_us: u64) {
        DATE_NOW.with_borrow_mut(|(at_us, text)| {
            if at_us.is_none_or(|at_us| now_us.abs_diff(at_us) >= DATE_US) {
                *at_us = Some(now_us);
                *text = http_date(self.clock.utc_us().div_euclid(1_000_000)).into_bytes();
            }
            put(head, b"Date", text);
        });
    }
}

/// What `response` is to every client that comes by `scheme`.
pub(super) fn prepared(
    response: Response<Body>,
    table: &Table,
    scheme: Scheme,
) -> Option<Prepared> {
    let (mut parts, body) = response.into_parts();
    dress_plain(table, scheme, (parts.status, &mut parts.headers));
    body.size_hint().exact()?;
    // A body whose size is known is there already.
    let whole = futures_util::FutureExt::now_or_never(body.collect())?.ok()?.to_bytes();
    Prepared::new(parts.status, parts.headers, whole)
}

/// A head of what never changes and of what limits say.
pub(super) fn begin_head(made: &Prepared, limited: &LimitHeaders) -> Vec<u8> {
    let body_bytes = if made.body.len() <= COPIED_BYTES_MAX { made.body.len() } else { 0 };
    let mut head = SPARE.take();
    head.clear();
    head.reserve(made.head.len() + 512 + body_bytes);
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
        self.set_text(name, value.as_bytes());
    }

    fn set_text(&mut self, name: &HeaderName, text: &[u8]) {
        put(self.0, name.as_str().as_bytes(), text);
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

/// Ends a head with what becomes of the connection.
pub(super) fn end_head(head: &mut Vec<u8>, keeps: bool) {
    put(head, b"Connection", if keeps { b"keep-alive" } else { b"close" });
    head.extend_from_slice(b"\r\n");
}

/// How long a date that was written is still the time.
const DATE_US: u64 = 250_000;

/// Larger rooms are not kept for the next answer.
const SPARE_BYTES_MAX: usize = 4 << 10;

/// Keeps the room of an answer that is out for the next one of this thread.
pub(super) fn keep_room(room: Vec<u8>) {
    if room.capacity() <= SPARE_BYTES_MAX {
        // A thread that ends has no next one.
        let _ = SPARE.try_with(|spare| spare.set(room));
    }
}

thread_local! {
    /// Room for the next answer.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// When a date was written, and the date.
    static DATE_NOW: RefCell<(Option<u64>, Vec<u8>)> = const { RefCell::new((None, Vec::new())) };
}
