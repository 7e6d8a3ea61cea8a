//! Owns what is done with one request: which route takes it, what it is answered with here, and
//! what is changed of it and of its answer on the way through.
//!
//! Refuses to choose servers. Bound: one request.

use std::sync::Arc;

use axum::body::Body;
use http::header::{self, ALLOW, HOST, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Response};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::app::{App, turn};
use crate::authorising::remove_claims;
use crate::cache::{Cache, date_of};
use crate::canned::{fixed, redirect};
use crate::compress::{Arriving, Compression, Decoded, codings, decode};
use crate::context::RequestContext;
use crate::dated::keep_date;
use crate::exchange::{self, RequestBody};
use crate::forwarded::{self, Origin};
use crate::head;
use crate::live::Table;
use crate::overload::RoutePriority;
use crate::proxying::Proxying;
use crate::refusal::Refusal;
use crate::route::compile::{Action, Route};
use crate::route::edit::Facts;
use crate::route::path::normalise;
use crate::route::spec::Scheme;
use crate::route::table::{Asked, Found, HOST_BYTES_MAX, host_of};
use crate::strict;
use crate::upstream::group::Group;

/// RFC 8555, section 8.3.
const ACME_PATH: &str = "/.well-known/acme-challenge/";
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is done with a request.
pub(crate) enum Step {
    Local,
    Upstream,
    /// The cache answers, and asks upstream for what it lacks.
    Cached,
    Answer(Response<Body>),
}

/// Marks an error as the client's doing, so that a body cut short is not answered as our failure.
pub(crate) fn of_client(mut error: Box<Error>) -> Box<Error> {
    error.as_down();
    error
}

/// Judges a head by more than Pingora does.
fn is_unambiguous(session: &Session) -> Result<(), Refusal> {
    let head = session.req_header();
    let Some(connection) = session.as_downstream().as_http1() else {
        return strict::check_host(head);
    };
    if turn(session).is_some_and(|turn| turn.has_odd_line()) {
        return Err(Refusal::malformed("the first line is not that of a request".to_owned()));
    }
    strict::check(head, &connection.get_headers_raw_bytes())
}

/// What variables stand for; `$uri` is the path that was asked for.
pub(crate) fn facts(session: &Session, ctx: &RequestContext) -> Facts {
    let request = session.req_header();
    let mut buffer = [0; HOST_BYTES_MAX];
    Facts {
        host: host_of(head::authority(request), &mut buffer).to_owned(),
        scheme: head::scheme(session).name(),
        client: ctx.client,
        path: ctx.asked_path.clone().unwrap_or_else(|| request.uri.path().to_owned()),
        query: request.uri.query().map(str::to_owned),
        id: ctx.id,
    }
}

/// The same address by TLS, for requests without it; but those that prove who has the host stay.
fn by_tls(session: &Session, ctx: &RequestContext, port: u16) -> Option<String> {
    let request = session.req_header();
    if head::scheme(session) == Scheme::Https || request.uri.path().starts_with(ACME_PATH) {
        return None;
    }
    let Facts { host, path, query, .. } = facts(session, ctx);
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    (!host.is_empty()).then(|| format!("https://{host}{port}{path}{query}"))
}

impl App {
    /// Takes the table that the request goes by, brings its path into the one form, and finds out
    /// whose it is, by nothing that it claims.
    fn begin(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<(), Refusal> {
        ctx.table = self.live.as_ref().map(|live| live.table());
        if self.access_log.is_some() {
            ctx.target = session.req_header().raw_path().to_vec();
        }
        if let Some(table) = &ctx.table
            && let Some(module) = session.downstream_modules_ctx.get_mut::<Compression>()
        {
            module.options = Some(table.compression.clone());
        }
        // What the cache asks was judged when it came.
        if !self.is_behind
            && let Err(refusal) = is_unambiguous(session)
        {
            session.set_keepalive(None);
            return Err(refusal);
        }
        remove_claims(session.req_header_mut());
        head::normalise_target(session.req_header_mut())?;
        let peer = head::peer(session);
        ctx.client = match &ctx.table {
            Some(table) => peer.map(|peer| {
                let headers = &session.req_header().headers;
                forwarded::client(headers, peer, &table.trusted, table.real_ip)
            }),
            None => peer,
        };
        Ok(())
    }

    /// Takes a request through the limits to its route, and finds what that does.
    pub(crate) async fn step(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<Step, Refusal> {
        self.begin(session, ctx)?;
        self.identify(session, ctx);
        let table = ctx.table.clone();
        if let Some(port) = table.as_ref().and_then(|table| table.https_port)
            && let Some(to) = by_tls(session, ctx, port)
        {
            return Ok(Step::Answer(redirect(308, &to)));
        }
        self.admit(session, ctx, table.as_ref().and_then(|table| table.gate.as_ref())).await?;
        if let Some(answer) = self.preflight(session, ctx) {
            return Ok(answer);
        }
        let Some(table) = table.filter(|table| !table.routes.is_empty()) else {
            self.hold(session, ctx, RoutePriority::Normal).await?;
            let path = session.req_header().uri.path();
            return self.let_in(session, ctx, None, path).map(|()| Step::Local);
        };
        if let Some(answer) = self.find(session, ctx, &table)? {
            return Ok(answer);
        }
        let Some(route) = ctx.route.and_then(|place| table.routes.get(place)) else {
            return Err(Refusal::no_route());
        };
        self.admit(session, ctx, route.gate.as_ref()).await?;
        self.hold(session, ctx, route.priority).await?;
        self.act(session, ctx, route)
    }

    /// Finds the route, or what is answered without one.
    fn find(
        &self,
        session: &Session,
        ctx: &mut RequestContext,
        table: &Table,
    ) -> Result<Option<Step>, Refusal> {
        let request = session.req_header();
        let mut buffer = [0; HOST_BYTES_MAX];
        let asked = Asked {
            host: host_of(head::authority(request), &mut buffer),
            path: request.uri.path(),
            method: &request.method,
            headers: &request.headers,
            scheme: head::scheme(session),
        };
        match table.routes.find(&asked) {
            Found::Route(place) => {
                ctx.route = Some(place);
                Ok(None)
            }
            Found::Nothing => Err(Refusal::no_route()),
            Found::WrongMethod => {
                let allowed = table.routes.allowed(&asked);
                let mut response = self.refused(session, &Refusal::wrong_method());
                if let Ok(allowed) = HeaderValue::try_from(allowed) {
                    response.headers_mut().insert(ALLOW, allowed);
                }
                Ok(Some(Step::Answer(response)))
            }
        }
    }

    /// What `route` does with the request.
    fn act(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        route: &Route,
    ) -> Result<Step, Refusal> {
        self.needs_certificate(session, route)?;
        let request = session.req_header();
        let path = rewritten(route, &request.method, request.uri.path())?;
        self.let_in(session, ctx, Some(route), path.as_deref().unwrap_or(request.uri.path()))?;
        match &route.action {
            Action::Redirect(status, to) => {
                Ok(Step::Answer(redirect(*status, &to.fill(&facts(session, ctx)))))
            }
            Action::Answer(status, body) => Ok(Step::Answer(fixed(*status, body.clone()))),
            Action::Local => {
                let edits = &route.request_edits;
                let known = (!edits.is_empty()).then(|| facts(session, ctx));
                if let Some(path) = path {
                    ctx.asked_path = Some(request.uri.path().to_owned());
                    head::set_path(session.req_header_mut(), &path)?;
                }
                if let Some(known) = known {
                    edits.apply(session.req_header_mut(), &known);
                }
                Ok(Step::Local)
            }
            Action::Upstream(_)
                if route.is_cached && self.cached.is_some() && Cache::takes(request) =>
            {
                Ok(Step::Cached)
            }
            Action::Upstream(group) => {
                ctx.proxying = Some(self.way_to(group, session, ctx, route, path)?);
                Ok(Step::Upstream)
            }
        }
    }

    /// The way to a server of `group`, if the group takes the request.
    fn way_to(
        &self,
        group: &Arc<Group>,
        session: &Session,
        ctx: &RequestContext,
        route: &Route,
        path: Option<String>,
    ) -> Result<Proxying, Refusal> {
        let limit = route.body_bytes_max.unwrap_or(self.body_bytes_max);
        if exchange::declared_length(session).is_some_and(|bytes| bytes > limit as u64) {
            return Err(Refusal::too_large(limit));
        }
        if !group.admits(self.clock.monotonic_us()) {
            return Err(Refusal::broken(group.name()));
        }
        let mut proxying = Proxying::new(group.clone(), route.timeouts, ctx.started, limit);
        let head = session.req_header();
        proxying.take_key(head.uri.path(), || &head.headers, ctx.client);
        proxying.path = path;
        Ok(proxying)
    }

    /// Has this process answer.
    pub(crate) async fn answer_locally(
        &self,
        session: &mut Session,
        ctx: &RequestContext,
    ) -> Result<()> {
        let mut extensions = http::Extensions::new();
        extensions.insert(ctx.id);
        if let Ok(Some(identity)) = &ctx.identity {
            extensions.insert(identity.clone());
        }
        let request = session.req_header();
        let response = if (self.streams)(&request.method, request.uri.path()) {
            self.answer_streaming(session, extensions).await?
        } else {
            let limit = ctx.route().and_then(|route| route.body_bytes_max);
            let limit = limit.unwrap_or(self.body_bytes_max);
            let body = exchange::read_body(session, limit).await;
            match body.map_err(of_client)? {
                RequestBody::Whole(body) => {
                    let headers = &session.req_header().headers;
                    match decode(headers, &body, limit) {
                        Decoded::Plain => {
                            exchange::call(&self.handler, session, body, extensions).await
                        }
                        Decoded::Whole(body) => {
                            exchange::call_decoded(&self.handler, session, body, extensions).await
                        }
                        other => self.undecoded(session, &other, Some(limit)),
                    }
                }
                RequestBody::TooLarge => {
                    // The rest of the body is not read, so the connection cannot be used again.
                    session.set_keepalive(None);
                    self.refused(session, &Refusal::too_large(limit))
                }
            }
        };
        self.send(session, response, ctx).await
    }

    /// Has this process answer a body that it reads as it arrives.
    async fn answer_streaming(
        &self,
        session: &mut Session,
        extensions: http::Extensions,
    ) -> Result<Response<Body>> {
        let arriving = match codings(&session.req_header().headers) {
            Some(codings) if codings.is_empty() => Ok(None),
            Some(codings) => Arriving::new(&codings).map(Some).map_err(|_| Decoded::Unknown),
            None => Err(Decoded::Unknown),
        };
        let answered = match arriving {
            Ok(arriving) => {
                let call = exchange::call_streaming(&self.handler, session, extensions, arriving);
                call.await.map_err(of_client)?
            }
            Err(unknown) => {
                // A body that nobody wants is not read.
                session.set_keepalive(None);
                Err(unknown)
            }
        };
        Ok(answered.unwrap_or_else(|why| self.undecoded(session, &why, None)))
    }

    /// The answer to a body that cannot be read as it is encoded, or not within `limit`.
    fn undecoded(
        &self,
        session: &Session,
        decoded: &Decoded,
        limit: Option<usize>,
    ) -> Response<Body> {
        let refusal = match decoded {
            Decoded::TooLarge => Refusal::grows_too_large(limit),
            Decoded::Unknown => Refusal::unknown_encoding(),
            _ => Refusal::malformed("the body is not encoded as it says".to_owned()),
        };
        let mut response = self.refused(session, &refusal);
        if refusal.status == 415 {
            let known = HeaderValue::from_static("gzip, br, zstd, deflate");
            response.headers_mut().insert(header::ACCEPT_ENCODING, known);
        }
        response
    }

    pub(crate) fn refused(&self, session: &Session, refusal: &Refusal) -> Response<Body> {
        let mut response = (self.reject)(&session.req_header().uri, refusal);
        let challenge = refusal.challenge.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(challenge)) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// Sends an answer of ours.
    pub(crate) async fn send(
        &self,
        session: &mut Session,
        mut response: Response<Body>,
        ctx: &RequestContext,
    ) -> Result<()> {
        let status = response.status();
        self.dress(session, (status, response.headers_mut()), ctx);
        ctx.limited.write(response.headers_mut());
        keep_date(session, date_of(response.headers(), self.utc_s()));
        exchange::answer(session, response, ctx.id_header()).await.map_err(of_client)
    }

    /// Makes of the client's head what the server gets.
    pub(crate) fn prepare_request(
        &self,
        session: &Session,
        request: &mut RequestHeader,
        ctx: &RequestContext,
    ) -> Result<()> {
        let (Some(proxying), Some(table)) = (&ctx.proxying, &ctx.table) else { return Ok(()) };
        let host = head::authority_header(session.req_header());
        let origin = head::peer(session).map(|peer| Origin {
            peer,
            client: ctx.client.unwrap_or(peer),
            is_trusted: table.trusted.contains(peer),
            scheme: head::scheme(session).name(),
            host: &host,
        });
        tell_server(request, proxying, origin.as_ref(), ctx.id_header())?;
        self.tell_identity(request, ctx)?;
        if let Some(route) = ctx.route()
            && !route.request_edits.is_empty()
        {
            route.request_edits.apply(request, &facts(session, ctx));
        }
        Ok(())
    }
}

/// The path that is passed on by `route`, where it is another one.
pub(crate) fn rewritten(
    route: &Route,
    method: &Method,
    path: &str,
) -> Result<Option<String>, Refusal> {
    let Some(path) = route.rewrite.apply(path) else { return Ok(None) };
    let form = normalise(method, &path);
    Ok(Some(form.map_err(|bad| Refusal::malformed(bad.to_string()))?.unwrap_or(path)))
}

/// Makes of the client's head what a server gets, but for what says who the client is and for what
/// the route changes.
pub(crate) fn tell_server(
    request: &mut RequestHeader,
    proxying: &Proxying,
    origin: Option<&Origin<'_>>,
    id: HeaderValue,
) -> Result<()> {
    let refused =
        |refusal: Refusal| Error::explain(ErrorType::HTTPStatus(refusal.status), refusal.detail);
    if let Some(path) = &proxying.path {
        head::set_path(request, path).map_err(refused)?;
    }
    if let Some(origin) = origin {
        for (name, value) in forwarded::told(&request.headers, origin) {
            request.insert_header(name, value)?;
        }
    }
    if let Some(host) = &proxying.group.spec.host {
        // The authority of the target would win over the header.
        let target = request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let target = target.to_owned();
        request.set_raw_path(target.as_bytes())?;
        request.insert_header(HOST, host.as_str())?;
    }
    request.insert_header(X_REQUEST_ID, id)
}
