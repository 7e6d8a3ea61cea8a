//! Owns the way of one request through the cache: found and fresh, validated, fetched, waited for.
//!
//! Refuses to judge; the modules beside it do. Bound: one response of at most `object_bytes_max`
//! captured while it is passed on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use truststram_base::Clock;

use super::asked::{Asked, CONDITIONS, path_of};
use super::directives::Directives;
use super::disk::Disk;
use super::fetch::{self, Origin, Response};
use super::flight::{self, Flights, Leader, Role};
use super::freshness::Now;
use super::memory::{Found, Memory, Purge};
use super::options::{CacheOptions, CacheStats};
use super::policy::Unstorable;
use super::status::{Forward, Handling};
use super::stored::{Stored, Use};
use super::vary::Variant;
use super::write::{answer_missing, write_body, write_head};
use super::{conditional, date, invalidate, policy};

/// A shared cache.
pub struct Cache {
    options: ArcSwap<CacheOptions>,
    pub(super) memory: Memory,
    pub(super) disk: Option<Disk>,
    flights: Arc<Flights>,
    stats: CacheStats,
    pub(super) clock: Arc<dyn Clock>,
}

/// What became of a fetch.
enum Fetched {
    /// The stored response holds, with the origin's word for it.
    Validated(Arc<Stored>),
    /// The stored one answers in place of an error.
    Excused(Arc<Stored>, Option<StatusCode>),
    New(Box<Response>),
}

impl Cache {
    /// An empty cache.
    pub fn new(options: CacheOptions, clock: Arc<dyn Clock>) -> Self {
        let memory = Memory::new(options.bytes_max);
        let flights = Arc::new(Flights::new(options.lock_age));
        let options = ArcSwap::from_pointee(options);
        Self { options, memory, disk: None, flights, stats: CacheStats::default(), clock }
    }

    /// Works by these from now on; how much memory there is stays as it was.
    pub fn set(&self, options: CacheOptions) {
        self.flights.set_age_max(options.lock_age);
        self.options.store(Arc::new(options));
    }

    fn options(&self) -> Arc<CacheOptions> {
        self.options.load_full()
    }

    /// What it counts.
    pub fn stats(&self) -> &CacheStats {
        &self.stats
    }

    /// Keys and bytes that are stored.
    pub fn size(&self) -> (usize, u64) {
        (self.memory.len(), self.memory.bytes())
    }

    pub(super) fn now(&self) -> Now {
        let utc_s = self.clock.utc_us().div_euclid(1_000_000);
        Now { utc_s, monotonic_ms: self.clock.monotonic_us() / 1_000 }
    }

    /// Whether a request goes through the cache; others go past it.
    pub(crate) fn takes(head: &RequestHeader) -> bool {
        let has = |name: header::HeaderName| head.headers.contains_key(name);
        let length = head.headers.get(header::CONTENT_LENGTH);
        let is_empty = length.is_none_or(|length| length.as_bytes() == b"0");
        matches!(head.method, Method::GET | Method::HEAD)
            && is_empty
            && !has(header::TRANSFER_ENCODING)
            && !has(header::UPGRADE)
    }

    /// Makes invalid what a request that went past the cache has changed.
    pub(crate) fn passed(&self, head: &RequestHeader, status: StatusCode, headers: &HeaderMap) {
        let (host, path) = (crate::head::authority(head), path_of(head));
        for key in invalidate::keys(&head.method, host, path, status, headers) {
            self.stats.invalidated.add(self.purge(Purge::Key(&key)) as u64);
        }
    }

    /// Answers a request that [`Cache::takes`] took. `finish` adds what the gateway says in every
    /// answer.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        session: &mut Session,
        scheme: &str,
        origin: Arc<dyn Origin>,
        finish: &(dyn Fn(&mut HeaderMap) + Send + Sync),
    ) -> Result<()> {
        let asked = Asked::of(scheme, session.req_header())?;
        let directives = Directives::of_request(&asked.head.headers);
        let mut handling = Handling::default();
        let (mut leader, mut is_looked_up) = (None, false);
        let (stored, forward) = loop {
            let found = self.find(&asked, &mut is_looked_up).await;
            let (stored, forward) = match found {
                Found::Nothing => (None, Forward::UriMiss),
                Found::NoVariant => (None, Forward::VaryMiss),
                Found::Stored(stored) => match stored.usable(&directives, self.now()) {
                    Use::Validate { for_client: true } => (Some(stored), Forward::Request),
                    Use::Validate { for_client: false } => (Some(stored), Forward::Stale),
                    usable => {
                        let counter =
                            if usable == Use::Fresh { &self.stats.hits } else { &self.stats.stale };
                        counter.add(1);
                        self.stats.collapsed.add(u64::from(handling.collapsed));
                        if usable == (Use::Stale { refresh: true }) {
                            self.refresh(&asked, stored.clone(), origin);
                        }
                        return self.answer(session, &stored, handling, finish).await;
                    }
                },
            };
            if directives.only_if_cached {
                return answer_missing(session, finish).await;
            }
            let is_alone = !self.options().is_locked
                || forward == Forward::Request
                || directives.no_store
                || asked.is_particular();
            if is_alone || leader.is_some() || handling.collapsed {
                break (stored, forward);
            }
            match self.flights.join(&asked.key, self.now().monotonic_ms) {
                // Whoever led before may have ended since the look-up: look once more.
                Role::Leader(leading) => leader = Some(leading),
                Role::Follower(over) => {
                    handling.collapsed = true;
                    if !flight::wait(over, self.options().lock_timeout).await {
                        break (stored, forward);
                    }
                }
            }
        };
        self.stats.forwarded.add(1);
        handling = Handling { forward: Some(forward), ..Handling::default() };
        let asked_at = self.now();
        match self.fetch(&asked, &directives, stored.as_ref(), &*origin, asked_at).await? {
            Fetched::Validated(stored) => {
                drop(leader);
                handling.forward_status = Some(StatusCode::NOT_MODIFIED);
                handling.stored = true;
                self.answer(session, &stored, handling, finish).await
            }
            Fetched::Excused(stored, status) => {
                drop(leader);
                self.stats.stale.add(1);
                handling.forward_status = status;
                self.answer(session, &stored, handling, finish).await
            }
            Fetched::New(response) => {
                self.pass_on(session, &asked, response, asked_at, (handling, leader), finish).await
            }
        }
    }

    /// Asks the origin, with the validators of `stored` if there is one.
    async fn fetch(
        &self,
        asked: &Asked,
        directives: &Directives,
        stored: Option<&Arc<Stored>>,
        origin: &dyn Origin,
        asked_at: Now,
    ) -> Result<Fetched> {
        let (head, validates) = asked.conditional(stored);
        let answered = fetch::ask(origin, head, self.options().read_timeout).await;
        let now = self.now();
        let excuse = || {
            let operator_s = self.options().stale_if_error_s;
            let serves = |one: &&Arc<Stored>| one.serves_for_error(directives, operator_s, now);
            stored.filter(serves).cloned()
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(error) => {
                self.stats.failed.add(1);
                return excuse().map(|stored| Fetched::Excused(stored, None)).ok_or(error);
            }
        };
        let status = response.status;
        if matches!(status.as_u16(), 500 | 502 | 503 | 504)
            && let Some(stored) = excuse()
        {
            return Ok(Fetched::Excused(stored, Some(status)));
        }
        if !response.headers.contains_key(header::DATE) {
            // Writing a date gives a legal value.
            let date = HeaderValue::try_from(date::write(now.utc_s));
            response.headers.extend(date.ok().map(|date| (header::DATE, date)));
        }
        match stored.filter(|_| validates && status == StatusCode::NOT_MODIFIED) {
            Some(stored) => {
                self.stats.validated.add(1);
                let newer = self.update(asked, stored, &response.headers, asked_at, now);
                Ok(Fetched::Validated(newer))
            }
            None => Ok(Fetched::New(Box::new(response))),
        }
    }

    /// The stored response with the headers of a 304.
    fn update(
        &self,
        asked: &Asked,
        stored: &Stored,
        newer: &HeaderMap,
        asked_at: Now,
        now: Now,
    ) -> Arc<Stored> {
        let headers = policy::updated_headers(&stored.headers, newer);
        // What may no longer be stored still answers this request.
        match self.to_store(asked, (stored.status, &headers), stored.body.clone(), asked_at, now) {
            Ok(updated) => {
                let updated = Arc::new(updated);
                self.keep(asked, updated.clone());
                updated
            }
            Err(why) => {
                if why.is_of_response() {
                    self.forget(&asked.key);
                }
                let parts = (stored.status, headers, stored.body.clone());
                let (variant, terms) = (stored.variant.clone(), stored.terms.clone());
                Arc::new(Stored::new(parts, variant, terms, asked_at, now))
            }
        }
    }

    /// What is stored of a response to `asked`, if it may be.
    fn to_store(
        &self,
        asked: &Asked,
        (status, headers): (StatusCode, &HeaderMap),
        body: Bytes,
        asked_at: Now,
        now: Now,
    ) -> Result<Stored, Unstorable> {
        let request = &asked.head.headers;
        let lifetime = |status| self.options().lifetime_s(status);
        let terms = policy::terms(&asked.head.method, request, status, headers, lifetime, now);
        let mut terms = terms?;
        if body.len() > self.options().object_bytes_max {
            return Err(Unstorable::Useless);
        }
        terms.stale_while_revalidate_s =
            terms.stale_while_revalidate_s.or(self.options().refreshes_within_s());
        let variant = Variant::of(request, headers);
        let parts = (status, policy::stored_headers(headers), body);
        Ok(Stored::new(parts, variant, terms, asked_at, now))
    }

    /// Passes a response on to the client, and stores it if it may be.
    async fn pass_on(
        &self,
        session: &mut Session,
        asked: &Asked,
        mut response: Box<Response>,
        asked_at: Now,
        (mut handling, mut leader): (Handling, Option<Leader>),
        finish: &(dyn Fn(&mut HeaderMap) + Send + Sync),
    ) -> Result<()> {
        let (now, status) = (self.now(), response.status);
        let from_origin = std::mem::take(&mut response.headers);
        let length = from_origin.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let fits = length.is_none_or(|length| length <= self.options().object_bytes_max);
        let parts = (status, &from_origin);
        let kept = self.to_store(asked, parts, Bytes::new(), asked_at, now);
        let kept = kept.and_then(|kept| if fits { Ok(kept) } else { Err(Unstorable::Useless) });
        if kept.as_ref().is_err_and(|why| why.is_of_response()) && !status.is_server_error() {
            // What was stored is not what the origin says now.
            self.forget(&asked.key);
        }
        let mut to_store = kept.ok();
        // Without something to store nobody needs to wait.
        leader = leader.filter(|_| to_store.is_some());
        let has_body = asked.head.method != Method::HEAD && !matches!(status.as_u16(), 204 | 304);
        handling.stored = to_store.is_some();
        let mut headers = policy::end_to_end(&from_origin);
        policy::remove_targeted(&mut headers);
        handling.write(&mut headers);
        finish(&mut headers);
        let mut sent = write_head(session, status, headers, has_body).await;
        let mut captured = bytes::BytesMut::new();
        while let Some(chunk) = response.next_of(has_body).await? {
            if to_store.is_some() {
                if captured.len() + chunk.len() > self.options().object_bytes_max {
                    (to_store, captured) = (None, bytes::BytesMut::new());
                    drop(leader.take());
                } else {
                    captured.extend_from_slice(&chunk);
                }
            }
            if sent.is_ok() {
                sent = write_body(session, chunk, false).await;
            }
            // A client that went away does not keep the response from others.
            if sent.is_err() && to_store.is_none() {
                return sent;
            }
        }
        if let Some(mut stored) = to_store {
            stored.body = captured.freeze();
            self.stats.stored.add(1);
            self.keep(asked, Arc::new(stored));
        }
        drop(leader);
        sent?;
        write_body(session, Bytes::new(), true).await
    }

    /// Validates a stale response behind the answer that it has given.
    fn refresh(self: &Arc<Self>, asked: &Asked, stored: Arc<Stored>, origin: Arc<dyn Origin>) {
        let Role::Leader(leader) = self.flights.join(&asked.key, self.now().monotonic_ms) else {
            return;
        };
        let (cache, mut asked) = (self.clone(), asked.clone());
        asked.head.set_method(Method::GET);
        for name in CONDITIONS.iter().chain(&[header::RANGE, header::IF_RANGE]) {
            asked.head.remove_header(name);
        }
        tokio::spawn(async move {
            let _leader = leader;
            cache.stats.forwarded.add(1);
            let (asked_at, none) = (cache.now(), Directives::default());
            let fetched = cache.fetch(&asked, &none, Some(&stored), &*origin, asked_at).await;
            // Without an answer the response stays as stale as it is.
            let Ok(Fetched::New(mut response)) = fetched else { return };
            let bytes_max = cache.options().object_bytes_max;
            let Ok(Some(body)) = response.whole(bytes_max).await else { return };
            let parts = (response.status, &response.headers);
            match cache.to_store(&asked, parts, body, asked_at, cache.now()) {
                Ok(newer) => {
                    cache.stats.stored.add(1);
                    cache.keep(&asked, Arc::new(newer));
                }
                Err(why) if why.is_of_response() && !response.status.is_server_error() => {
                    cache.forget(&asked.key);
                }
                Err(_) => {}
            }
        });
    }

    /// Answers with a stored response: whole, in part, or that the client has it.
    async fn answer(
        &self,
        session: &mut Session,
        stored: &Stored,
        mut handling: Handling,
        finish: &(dyn Fn(&mut HeaderMap) + Send + Sync),
    ) -> Result<()> {
        let now = self.now();
        let head = session.req_header();
        let (method, request) = (&head.method, &head.headers);
        let (mut status, mut body) = (stored.status, stored.body.clone());
        let mut headers = stored.headers.clone();
        let is_success = status.is_success();
        if is_success && conditional::is_not_modified(request, &stored.headers, now.utc_s) {
            status = StatusCode::NOT_MODIFIED;
            conditional::not_modified(&mut headers);
            body = Bytes::new();
        } else {
            let length = body.len();
            let part =
                conditional::part(method, request, status, &stored.headers, length, now.utc_s);
            if let Some(range) = conditional::content_range(part, length) {
                headers.insert(header::CONTENT_RANGE, range);
            }
            match part {
                conditional::Part::Whole => {}
                conditional::Part::Range(from, to) => {
                    status = StatusCode::PARTIAL_CONTENT;
                    body = body.slice(from..to);
                }
                conditional::Part::Unsatisfiable => {
                    status = StatusCode::RANGE_NOT_SATISFIABLE;
                    body = Bytes::new();
                }
            }
            if status != StatusCode::NO_CONTENT {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
        }
        policy::remove_targeted(&mut headers);
        headers.insert(header::AGE, HeaderValue::from(stored.age_ms(now) / 1_000));
        handling.time_to_live_s = Some(stored.time_to_live_s(now));
        handling.write(&mut headers);
        finish(&mut headers);
        let has_body = *method != Method::HEAD && !body.is_empty();
        write_head(session, status, headers, has_body).await?;
        write_body(session, if has_body { body } else { Bytes::new() }, true).await
    }
}
