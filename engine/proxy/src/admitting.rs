//! Owns what stands before the routes and before upstream: limits, pages of other origins and the
//! cache.
//!
//! Refuses to decide; `limiting`, `cors` and `cache` do. Bound: one request.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use pingora_core::Result;
use pingora_proxy::Session;

use crate::answering::Step;
use crate::app::App;
use crate::cache::Inner;
use crate::context::RequestContext;
use crate::head;
use crate::limit::Subject;
use crate::limiting::{Gate, Passage};
use crate::refusal::Refusal;
use crate::route::table::{HOST_BYTES_MAX, host_of};

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
        let identity = ctx.identity.as_ref().ok().and_then(Option::as_deref);
        let request = session.req_header();
        let (authority, path) = (head::authority(request), request.uri.path());
        let mut buffer = [0; HOST_BYTES_MAX];
        // As routes see it: a port or a last dot makes no other key. One too long stays itself.
        let host = match host_of(authority, &mut buffer) {
            "" => authority,
            host => host,
        };
        let (client, headers) = (ctx.client, &request.headers);
        let subject = Subject { client, headers, host, path, identity };
        let (headers, passage) = gate.pass(&subject, now_ms);
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
        let scheme = head::scheme(session).name();
        cached.cache.serve(session, scheme, Arc::new(origin), &finish).await
    }
}
