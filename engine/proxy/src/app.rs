//! Owns what Pingora asks per request: answer it from the router, count it, log it.
//!
//! Refuses to know threads and sockets. Upstream groups arrive with the gateway's routes; until
//! then every request is answered here. Bound: one context per request.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Response};
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::{HttpProxy, ProxyHttp, Session};
use serde_json::json;
use truststram_base::{Clock, Kind, RequestId};
use truststram_machine::LogFile;

use crate::cache::{Cache, Inner};
use crate::exchange::{self, RequestBody};
use crate::gateway::Rejection;
use crate::limit::{InFlight, LimitHeaders};
use crate::limiting::{Gate, Passage};
use crate::stats::GatewayStats;

pub(crate) struct App {
    pub(crate) router: Router,
    pub(crate) stats: Arc<GatewayStats>,
    pub(crate) body_bytes_max: usize,
    pub(crate) streams: fn(&Method, &str) -> bool,
    pub(crate) read_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) reject: Rejection,
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) cached: Option<Cached>,
    pub(crate) access_log: Option<Arc<LogFile>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A cache and what it asks for what it lacks.
pub(crate) struct Cached {
    pub(crate) cache: Arc<Cache>,
    /// The same gateway without limits, log and cache.
    pub(crate) behind: Arc<HttpProxy<App>>,
}

pub(crate) struct RequestContext {
    started: Instant,
    id: RequestId,
    limited: LimitHeaders,
    /// Places that the request holds until it is over.
    in_flight: Option<InFlight>,
}

thread_local! {
    /// The next request id of this thread: a random number to begin with, then a step of an odd
    /// constant, so that ids of one thread never repeat and those of two threads practically
    /// never meet.
    static NEXT_ID: Cell<u128> = Cell::new(random_u128());
}

fn random_u128() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let half = || u128::from(RandomState::new().hash_one(0u8));
    half() << 64 | half()
}

fn next_id() -> RequestId {
    NEXT_ID.with(|next| {
        let id = next.get();
        next.set(id.wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        RequestId(id)
    })
}

/// Marks an error as the client's doing, so that a body cut short is not answered as our failure.
fn of_client(mut error: Box<Error>) -> Box<Error> {
    error.as_down();
    error
}

fn header_of(id: RequestId) -> HeaderValue {
    // Hexadecimal digits are always a legal header value.
    HeaderValue::from_bytes(&id.to_hex()).unwrap_or(HeaderValue::from_static(""))
}

#[async_trait]
impl ProxyHttp for App {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext {
            started: Instant::now(),
            id: next_id(),
            limited: LimitHeaders::default(),
            in_flight: None,
        }
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<bool> {
        session.set_read_timeout(Some(self.read_timeout));
        session.set_write_timeout(Some(self.write_timeout));
        if let Some(refused) = self.admit(session, ctx).await {
            self.answer(session, ctx, refused).await?;
            return Ok(true);
        }
        if let Some(cached) = self.cached.as_ref().filter(|_| Cache::takes(session.req_header())) {
            self.answer_cached(session, ctx, cached).await?;
            return Ok(true);
        }
        let mut extensions = http::Extensions::new();
        extensions.insert(ctx.id);
        let head = session.req_header();
        let response = if (self.streams)(&head.method, head.uri.path()) {
            let answered = exchange::call_streaming(&self.router, session, extensions).await;
            answered.map_err(of_client)?
        } else {
            let body = exchange::read_body(session, self.body_bytes_max).await;
            match body.map_err(of_client)? {
                RequestBody::Whole(body) => {
                    exchange::call(&self.router, session, body, extensions).await
                }
                RequestBody::TooLarge => {
                    // The rest of the body is not read, so the connection cannot be used again.
                    session.set_keepalive(None);
                    let uri = &session.req_header().uri;
                    (self.reject)(uri, Kind::TooLarge, self.body_bytes_max)
                }
            }
        };
        self.answer(session, ctx, response).await?;
        Ok(true)
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut RequestContext,
    ) -> Result<Box<HttpPeer>> {
        Error::e_explain(ErrorType::ConnectProxyFailure, "no route names an upstream")
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
        }
        if error.is_some() {
            self.stats.broken.add(1);
        }
        if let Some(log) = &self.access_log {
            log.append(self.access_line(session, status, duration_us, ctx.id));
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
}

impl App {
    /// Asks the limits; an answer means that the request is refused.
    async fn admit(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Option<Response<Body>> {
        let gate = self.gate.as_ref()?;
        let now_ms = self.clock.monotonic_us() / 1_000;
        let wait_ms = match gate.pass(session, now_ms) {
            Passage::Open { headers, in_flight, wait_ms } => {
                (ctx.limited, ctx.in_flight) = (headers, Some(in_flight));
                wait_ms
            }
            Passage::Closed { headers, response } => {
                ctx.limited = headers;
                if !session.as_downstream_mut().is_body_empty() {
                    // The body is not read, so the connection cannot be used again.
                    session.set_keepalive(None);
                }
                return Some(response);
            }
        };
        if wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        None
    }

    async fn answer_cached(
        &self,
        session: &mut Session,
        ctx: &RequestContext,
        cached: &Cached,
    ) -> Result<()> {
        let client = session.client_addr().and_then(|address| address.as_inet()).copied();
        let origin = Arc::new(Inner { proxy: cached.behind.clone(), client });
        let finish = |headers: &mut HeaderMap| {
            ctx.limited.write(headers);
            headers.insert("x-request-id", header_of(ctx.id));
        };
        cached.cache.serve(session, origin, &finish).await
    }

    async fn answer(
        &self,
        session: &mut Session,
        ctx: &RequestContext,
        mut response: Response<Body>,
    ) -> Result<()> {
        if let Some(cached) = &self.cached {
            cached.cache.passed(session.req_header(), response.status(), response.headers());
        }
        ctx.limited.write(response.headers_mut());
        exchange::answer(session, response, header_of(ctx.id)).await.map_err(of_client)
    }

    fn access_line(
        &self,
        session: &Session,
        status: u16,
        duration_us: u64,
        id: RequestId,
    ) -> String {
        let head = session.req_header();
        let remote: Option<IpAddr> =
            session.client_addr().and_then(|address| address.as_inet()).map(|inet| inet.ip());
        json!({
            "timestamp_us": self.clock.utc_us(),
            "remote": remote,
            "method": head.method.as_str(),
            "path": head.uri.path(),
            "status": status,
            "body_bytes_sent": session.body_bytes_sent(),
            "duration_us": duration_us,
            "request_id": id.to_string(),
        })
        .to_string()
    }
}
