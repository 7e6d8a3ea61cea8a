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
use super::fetch::{Origin, Response};
use super::flight::{self, Flights, Leader, Role};
use super::freshness::Now;
use super::memory::{Found, Memory, Purge};
use super::options::{CacheOptions, CacheStats};
use super::policy::Unstorable;
use super::rules::CacheRules;
use super::status::{Forward, Handling};
use super::stored::{Stored, Use};
use super::uses::Uses;
use super::validate::Fetched;
use super::write::{answer_missing, write_body, write_head};
use super::{conditional, invalidate, policy};

/// A shared cache.
pub struct Cache {
    options: ArcSwap<CacheOptions>,
    pub(super) memory: Memory,
    pub(super) disk: Option<Disk>,
    flights: Arc<Flights>,
    pub(super) uses: Uses,
    pub(super) stats: CacheStats,
    pub(super) clock: Arc<dyn Clock>,
}

impl Cache {
    /// An empty cache.
    pub fn new(options: CacheOptions, clock: Arc<dyn Clock>) -> Self {
        let memory = Memory::new(options.bytes_max);
        let flights = Arc::new(Flights::new(options.lock_age));
        let options = ArcSwap::from_pointee(options);
        let (uses, stats) = (Uses::default(), CacheStats::default());
        Self { options, memory, disk: None, flights, uses, stats, clock }
    }

    /// Works by these from now on; how much memory there is stays as it was.
    pub fn set(&self, options: CacheOptions) {
        self.flights.set_age_max(options.lock_age);
        self.options.store(Arc::new(options));
    }

    pub(super) fn options(&self) -> Arc<CacheOptions> {
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

    /// Answers a request that [`Cache::takes`] took, by the rules of its route. `finish` adds what
    /// the gateway says in every answer.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        session: &mut Session,
        (scheme, rules): (&str, Arc<CacheRules>),
        origin: Arc<dyn Origin>,
        finish: &(dyn Fn(&mut HeaderMap) + Send + Sync),
    ) -> Result<()> {
        let mut asked = Asked::of(scheme, session.req_header(), rules)?;
        let directives = Directives::of_request(&asked.head.headers);
        let (mut handling, mut leader, mut is_looked_up) = (Handling::default(), None, false);
        let (stored, forward) = loop {
            if asked.is_bypassing {
                self.count(&mut asked);
                break (None, Forward::Bypass);
            }
            let found = self.find(&mut asked, &mut is_looked_up).await;
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
        let of_origin = (&*origin, Some(&mut *session));
        match self.fetch(&asked, &directives, stored.as_ref(), of_origin, asked_at).await? {
            Fetched::Validated(stored, status) => {
                drop(leader);
                handling.forward_status = Some(status).filter(|status| *status != stored.status);
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
        handling.is_rare = kept.is_ok() && asked.is_rare();
        let mut to_store = kept.ok().filter(|_| !asked.is_rare());
        // Without something to store nobody needs to wait.
        leader = leader.filter(|_| to_store.is_some());
        let has_body = asked.head.method != Method::HEAD && !matches!(status.as_u16(), 204 | 304);
        handling.stored = to_store.is_some();
        let mut headers = policy::end_to_end(&from_origin);
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
            let origin = (&*origin, None);
            let fetched = cache.fetch(&asked, &none, Some(&stored), origin, asked_at).await;
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
        headers.insert(header::AGE, HeaderValue::from(stored.age_ms(now) / 1_000));
        handling.time_to_live_s = Some(stored.time_to_live_s(now));
        handling.write(&mut headers);
        finish(&mut headers);
        let has_body = *method != Method::HEAD && !body.is_empty();
        write_head(session, status, headers, has_body).await?;
        write_body(session, if has_body { body } else { Bytes::new() }, true).await
    }
}
