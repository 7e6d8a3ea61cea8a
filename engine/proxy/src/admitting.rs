//! Owns what stands before the routes and before upstream: limits, places among the requests under
//! way, pages of other origins and the cache.
//!
//! Refuses to decide; `limiting`, `overload`, `cors` and `cache` do. Bound: one request.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use pingora_core::Result;
use pingora_proxy::Session;
use truststram_base::Access;

use crate::answering::Step;
use crate::app::App;
use crate::cache::Inner;
use crate::context::RequestContext;
use crate::head;
use crate::limit::{LimitHeaders, Subject};
use crate::limiting::{Gate, Passage};
use crate::overload::{Entry, RoutePriority};
use crate::refusal::Refusal;
use crate::route::compile::Action;
use crate::route::table::{HOST_BYTES_MAX, host_of};

/// What the request is counted by.
fn subject<'a>(
    session: &'a Session,
    ctx: &'a RequestContext,
    buffer: &'a mut [u8; HOST_BYTES_MAX],
) -> Subject<'a> {
    let identity = ctx.identity.as_ref().ok().and_then(Option::as_deref);
    let request = session.req_header();
    let (authority, path) = (head::authority(request), request.uri.path());
    // As routes see it: a port or a last dot makes no other key. One too long stays itself.
    let host = match host_of(authority, buffer) {
        "" => authority,
        host => host,
    };
    Subject { client: ctx.client, headers: &request.headers, host, path, identity }
}

/// Refuses a request that is to come again after `wait_ms`.
fn overloaded(ctx: &mut RequestContext, why: &str, wait_ms: u64) -> Result<(), Refusal> {
    let limited = std::mem::take(&mut ctx.limited);
    ctx.limited = limited.and(LimitHeaders::retry_after(wait_ms));
    Err(Refusal::overloaded(why))
}

/// Milliseconds after which those are to come again that strain, or too many others, kept out.
const STRAINED_MS: u64 = 5_000;
const CROWDED_MS: u64 = 1_000;

impl App {
    /// Asks the limits of `gate`, and waits where they say so.
    pub(crate) async fn admit(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        gate: Option<&Gate>,
    ) -> Result<(), Refusal> {
        let Some(gate) = gate.filter(|_| !self.is_behind) else { return Ok(()) };
        let now_ms = self.clock.monotonic_us() / 1_000;
        let mut buffer = [0; HOST_BYTES_MAX];
        let subject = subject(session, ctx, &mut buffer);
        let (headers, passage) = gate.pass(&subject, now_ms, &*self.clock);
        ctx.limited = std::mem::take(&mut ctx.limited).and(headers);
        match passage {
            Passage::Open { in_flight, wait_ms } => {
                ctx.in_flight.extend(in_flight);
                if wait_ms > 0 {
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
                Ok(())
            }
            Passage::Closed => Err(Refusal::too_many(gate.status)),
        }
    }

    /// Takes a place among the requests under way, after a wait where there is none; under strain,
    /// refuses those of low priority.
    pub(crate) async fn hold(
        &self,
        session: &Session,
        ctx: &mut RequestContext,
        priority: RoutePriority,
    ) -> Result<(), Refusal> {
        let Some(live) = self.live.as_ref().filter(|_| !self.is_behind) else { return Ok(()) };
        let Some(table) = ctx.table.clone() else { return Ok(()) };
        let Some(spec) = &table.overload else { return Ok(()) };
        let valve = live.valve();
        if !spec.may_hold(priority, valve) || self.is_for_all(session, ctx) {
            return Ok(());
        }
        if priority == RoutePriority::Low && valve.strained().is_some() {
            valve.stats.shed.add(1);
            return overloaded(ctx, "the machine is under strain, and this can wait", STRAINED_MS);
        }
        let mut key = Vec::new();
        spec.queue_key.write(&subject(session, ctx, &mut [0; HOST_BYTES_MAX]), &mut key);
        let waiting = match valve.enter(&key, spec) {
            Entry::Free(place) => {
                ctx.place = Some(place);
                return Ok(());
            }
            Entry::Wait(waiting) => waiting,
            Entry::Full => return overloaded(ctx, "too many requests wait already", CROWDED_MS),
        };
        match tokio::time::timeout(spec.queue_wait, waiting.place()).await {
            Ok(Some(place)) => {
                ctx.place = Some(place);
                Ok(())
            }
            Ok(None) => overloaded(ctx, "too many requests wait already", CROWDED_MS),
            Err(_) => {
                valve.stats.late.add(1);
                overloaded(ctx, "too many requests are under way", CROWDED_MS)
            }
        }
    }

    /// Whether it asks for a path of this process that nobody needs a credential for, such as those
    /// that say whether it is well.
    fn is_for_all(&self, session: &Session, ctx: &RequestContext) -> bool {
        let is_local = ctx.route().is_none_or(|route| matches!(route.action, Action::Local));
        let Some(guard) = self.guard.as_ref().filter(|_| is_local) else { return false };
        let request = session.req_header();
        (guard.access)(&request.method, request.uri.path()) == Access::Open
    }

    /// The answer to a page that asks first whether it may ask.
    pub(crate) fn preflight(&self, session: &Session, ctx: &RequestContext) -> Option<Step> {
        let cors = ctx.table.as_ref()?.cors.as_ref()?;
        cors.preflight(session.req_header()).map(Step::Answer)
    }

    /// Has the cache answer; what it lacks comes by the same route.
    pub(crate) async fn answer_cached(
        &self,
        session: &mut Session,
        ctx: &RequestContext,
    ) -> Result<()> {
        let Some(cached) = &self.cached else { return Ok(()) };
        let origin = Inner {
            proxy: cached.behind.clone(),
            client: session.client_addr().and_then(|address| address.as_inet()).copied(),
            ssl: session.digest().and_then(|digest| digest.ssl_digest.clone()),
        };
        let asked = session.req_header().headers.clone();
        let cors = ctx.table.as_ref().and_then(|table| table.cors.as_ref());
        let finish = |headers: &mut HeaderMap| {
            if let Some(cors) = cors {
                cors.write(&asked, headers);
            }
            ctx.limited.write(headers);
            headers.insert("x-request-id", ctx.id_header());
        };
        let rules = ctx.route().map(|route| route.cache_rules.clone()).unwrap_or_default();
        let by = (head::scheme(session).name(), rules);
        cached.cache.serve(session, by, Arc::new(origin), &finish).await
    }
}
