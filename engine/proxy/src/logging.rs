//! Owns the line of a request in the access log.
//!
//! Refuses to know its format. Bound: one line for each request.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderMap;
use pingora_core::protocols::tls::SslDigest;
use pingora_proxy::Session;

use crate::access::{Access, Logged};
use crate::app::App;
use crate::context::RequestContext;
use crate::direct::{Admitted, Answered, Record, map_of};
use crate::head;
use crate::route::spec::Scheme;
use crate::route::table::{HOST_BYTES_MAX, host_of};

/// Most fields of an answer that is logged.
const FIELDS_MAX: usize = 128;

/// The connection that a logged request came by.
pub(crate) struct Ends {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) server: Option<SocketAddr>,
    pub(crate) tls: Option<Arc<SslDigest>>,
}

impl App {
    /// Logs a request that is over, unless its route or its path is not logged.
    pub(crate) fn log(
        &self,
        session: &Session,
        status: u16,
        duration_us: u64,
        ctx: &RequestContext,
    ) {
        let Some(log) = &self.access_log else { return };
        let (request, route) = (session.req_header(), ctx.route());
        let path = ctx.asked_path.as_deref().unwrap_or_else(|| request.uri.path());
        let plain = Access::default();
        let access = ctx.table.as_ref().map_or(&plain, |table| &table.access);
        if !access.takes(route, path) {
            return;
        }
        let mut buffer = [0; HOST_BYTES_MAX];
        let inet = |address: Option<&pingora_core::protocols::l4::socket::SocketAddr>| {
            address.and_then(|address| address.as_inet()).copied()
        };
        let digest = session.digest().and_then(|digest| digest.ssl_digest.as_ref());
        let identity = ctx.identity.as_ref().ok().and_then(Option::as_deref);
        log.append(access.line(&Logged {
            request,
            target: if ctx.target.is_empty() { request.raw_path() } else { &ctx.target },
            path,
            host: host_of(head::authority(request), &mut buffer),
            scheme: head::scheme(session).name(),
            answer: session.response_written().map(|answer| &answer.headers),
            status,
            body_bytes_sent: session.body_bytes_sent(),
            duration_us,
            utc_us: self.clock.utc_us(),
            now_us: self.clock.monotonic_us(),
            client: ctx.client,
            peer: inet(session.client_addr()),
            server: inet(session.server_addr()),
            tls: digest.map(|digest| (&*digest.version, &*digest.cipher)),
            id: ctx.id,
            identity: identity.filter(|_| ctx.is_let_in),
            route: route.map(|route| route.name.as_str()),
            is_proxied: ctx.proxying.is_some(),
            upstream: ctx.proxying.as_ref().and_then(|proxying| proxying.address()),
            attempts: ctx.proxying.iter().flat_map(|proxying| proxying.made()).collect(),
        }));
    }

    /// Logs a request that was answered or passed on directly.
    pub(crate) fn log_direct(
        &self,
        admitted: &Admitted,
        answered: &Answered<'_>,
        record: &Record,
        duration_us: u64,
        ends: &Ends,
    ) {
        let Some(log) = &self.access_log else { return };
        let request = &record.request;
        let mut buffer = [0; HOST_BYTES_MAX];
        let scheme = if ends.tls.is_some() { Scheme::Https } else { Scheme::Http };
        log.append(admitted.table.access.line(&Logged {
            request,
            target: request.raw_path(),
            path: request.uri.path(),
            host: host_of(head::authority(request), &mut buffer),
            scheme: scheme.name(),
            answer: (answered.status != 0).then(|| fields_of(&record.head)).as_ref(),
            status: answered.status,
            body_bytes_sent: answered.body_bytes_sent,
            duration_us,
            utc_us: self.clock.utc_us(),
            now_us: self.clock.monotonic_us(),
            client: Some(admitted.client),
            peer: ends.peer,
            server: ends.server,
            tls: ends.tls.as_ref().map(|digest| (&*digest.version, &*digest.cipher)),
            id: admitted.id,
            identity: None,
            route: admitted.route().map(|route| route.name.as_str()),
            is_proxied: answered.proxying.is_some(),
            upstream: answered.proxying.and_then(|proxying| proxying.address()),
            attempts: answered.proxying.iter().flat_map(|proxying| proxying.made()).collect(),
        }));
    }
}

/// The fields of a head that we have written.
fn fields_of(head: &[u8]) -> HeaderMap {
    let mut room = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut room);
    match response.parse(head) {
        Ok(_) => map_of(response.headers),
        Err(_) => HeaderMap::new(),
    }
}
