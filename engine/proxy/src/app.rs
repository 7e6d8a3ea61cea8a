//! Owns what Pingora asks per request: begin, route, answer or pass on, count, log.
//!
//! Refuses to know threads and sockets, and to decide: routes, servers and retries are decided in
//! modules of their own. Bound: one context per request.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session};
use truststram_base::Clock;
use truststram_machine::LogFile;

use crate::answering::Step;
use crate::auth::Guard;
use crate::cache::Cache;
use crate::compress;
use crate::connection::shared_of;
use crate::context::RequestContext;
use crate::direct::{Kept, Refusals};
use crate::gateway::{Handler, Rejection};
use crate::head_timer::Turn;
use crate::live::Live;
use crate::proxying::status_of;
use crate::refusal::Refusal;
use crate::stats::GatewayStats;

/// A cache and what it asks for what it lacks.
#[derive(Clone)]
pub(crate) struct Cached {
    pub(crate) cache: Arc<Cache>,
    /// The same gateway without limits, log and cache.
    pub(crate) behind: Arc<HttpProxy<App>>,
}

pub(crate) struct App {
    pub(crate) handler: Handler,
    pub(crate) stats: Arc<GatewayStats>,
    pub(crate) body_bytes_max: usize,
    pub(crate) streams: fn(&Method, &str) -> bool,
    pub(crate) read_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) reject: Rejection,
    pub(crate) access_log: Option<Arc<LogFile>>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Routes and what they lead to; without, `handler` answers all.
    pub(crate) live: Option<Arc<Live>>,
    /// The index of the network thread.
    pub(crate) thread: usize,
    pub(crate) cached: Option<Cached>,
    pub(crate) guard: Option<Guard>,
    /// Refusals that were made already.
    pub(crate) refusals: Refusals,
    /// Connections to servers that wait for requests which are passed on without Pingora's proxy.
    pub(crate) kept: Arc<Kept>,
    /// Whether it answers a cache, in front of which requests are limited and counted.
    pub(crate) is_behind: bool,
}

/// The turn of the connection that the request came by.
pub(crate) fn turn(session: &Session) -> Option<&Arc<Turn>> {
    shared_of(session.digest()?.proxy_digest.as_ref()?).map(|shared| &shared.turn)
}

#[async_trait]
impl ProxyHttp for App {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new()
    }

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        // What the cache keeps is not compressed.
        if !self.is_behind {
            modules.add_module(Box::new(compress::Builder));
        }
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<bool> {
        if turn(session).is_some_and(|turn| turn.begin(session.is_http2())) {
            self.stats.connections_fresh.lower(1);
        }
        session.set_read_timeout(Some(self.read_timeout));
        session.set_write_timeout(Some(self.write_timeout));
        // From here on the client and the path are what everything else may rely on.
        let step = self.step(session, ctx).await;
        match step.unwrap_or_else(|refusal| Step::Answer(self.refused(session, &refusal))) {
            Step::Upstream => Ok(false),
            Step::Cached => self.answer_cached(session, ctx).await.map(|()| true),
            Step::Local => self.answer_locally(session, ctx).await.map(|()| true),
            Step::Answer(response) => {
                if !session.is_body_empty() {
                    // A body that nobody wants is not read to its end.
                    session.set_keepalive(None);
                }
                self.send(session, response, ctx).await.map(|()| true)
            }
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if session.was_upgraded() {
            // A tunnel is no body, and lasts as long as its client is let in.
            return self.still_lets_in(session, ctx);
        }
        let Some(proxying) = &mut ctx.proxying else { return Ok(()) };
        proxying.body(body.as_ref().map_or(0, Bytes::len))
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<Box<HttpPeer>> {
        match &mut ctx.proxying {
            Some(proxying) => proxying.next(session, self.thread, self.clock.monotonic_us()),
            None => Error::e_explain(ErrorType::ConnectProxyFailure, "no route names an upstream"),
        }
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if let Some(proxying) = &mut ctx.proxying {
            proxying.connected(proxying.last(), reused, self.clock.monotonic_us());
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        self.prepare_request(session, head, ctx)
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if let Some(proxying) = &mut ctx.proxying {
            proxying.in_time()?;
            if !head.status.is_informational() || head.status.as_u16() == 101 {
                proxying.answered(head.status.as_u16(), self.clock.monotonic_us());
            }
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        self.prepare_response(session, head, ctx);
        if let Some(cached) = &self.cached {
            cached.cache.passed(session.req_header(), head.status, &head.headers);
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        if session.was_upgraded() {
            self.still_lets_in(session, ctx)?;
        } else if let Some(proxying) = &ctx.proxying {
            proxying.in_time()?;
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut RequestContext,
        error: Box<Error>,
    ) -> Box<Error> {
        match &mut ctx.proxying {
            Some(proxying) => proxying.not_connected(error, self.clock.monotonic_us()),
            None => error,
        }
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut RequestContext,
        client_reused: bool,
    ) -> Box<Error> {
        let now_us = self.clock.monotonic_us();
        match &mut ctx.proxying {
            Some(proxying) => {
                let is_safe = session.req_header().method.is_idempotent()
                    && session.response_written().is_none()
                    && !session.as_ref().retry_buffer_truncated();
                proxying.broke_off(error, is_safe, client_reused, now_us)
            }
            None => error,
        }
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut RequestContext,
    ) -> FailToProxy {
        let status = status_of(error);
        // Hints of what is to come are no answer.
        let is_open = session.response_written().is_none_or(|head| head.status.is_informational());
        if status != 0 && is_open && !session.was_upgraded() {
            session.set_keepalive(None);
            let refusal = match (status, &ctx.proxying) {
                (413, Some(proxying)) => Refusal::too_large(proxying.body_bytes_max()),
                _ => Refusal::of_status(status),
            };
            let response = self.refused(session, &refusal);
            // A client that is gone is counted where the request is logged.
            let _ = self.send(session, response, ctx).await;
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(
        &self,
        session: &mut Session,
        error: Option<&Error>,
        ctx: &mut RequestContext,
    ) {
        let duration_us = u64::try_from(ctx.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let status = session.response_written().map_or(0, |head| head.status.as_u16());
        if status != 0 {
            self.stats.answered(status, duration_us);
            if let Some(route) = ctx.route().filter(|_| !self.is_behind) {
                route.stats.answered(status, duration_us);
            }
        }
        if error.is_some() {
            self.stats.broken.add(1);
        }
        self.log(session, status, duration_us, ctx);
        if let Some(proxying) = &mut ctx.proxying {
            proxying.finish(error, self.clock.monotonic_us());
        }
        if let Some(turn) = turn(session) {
            turn.end();
        }
    }

    fn suppress_error_log(
        &self,
        _session: &Session,
        _ctx: &RequestContext,
        _error: &Error,
    ) -> bool {
        // A client that goes away is counted in `broken`; a line each would let clients fill disks.
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &RequestContext,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        // Counted per group and per server.
        true
    }
}
