//! Owns what stands between a request and what it asks for: who it is from, and whether they may.
//!
//! Refuses to judge credentials; `auth` does. What needs no credential is not refused for a wrong
//! one, which may be for whoever answers. Bound: one request.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use truststram_base::{Access, Identity};

use crate::app::App;
use crate::auth::{AuthRules, Denied, Guard, X_API_KEY, is_bearer};
use crate::connection::shared_of;
use crate::context::RequestContext;
use crate::forwarded;
use crate::limit::LimitHeaders;
use crate::refusal::Refusal;
use crate::route::compile::{Action, Route};

/// Tells an upstream server who a request is from.
const X_AUTHENTICATED_USER: HeaderName = HeaderName::from_static(AUTHENTICATED_USER);
/// How often a credential of a tunnel is judged anew while something passes.
const JUDGED_EVERY_US: u64 = 1_000_000;
/// Its name.
pub(crate) const AUTHENTICATED_USER: &str = "x-authenticated-user";

/// Whether a field of this name says what only the gateway says. Some servers read `_` as `-`.
fn is_ours(name: &str) -> bool {
    let is_user = |name: &str| name == AUTHENTICATED_USER;
    if !name.contains('_') {
        return is_user(name);
    }
    let read = name.replace('_', "-");
    is_user(&read) || forwarded::tells(&read)
}

/// Removes what no client may say of itself, whoever is asked for what on its way.
pub(crate) fn remove_claims(request: &mut RequestHeader) {
    let claims: Vec<HeaderName> =
        request.headers.keys().filter(|name| is_ours(name.as_str())).cloned().collect();
    for name in claims {
        request.remove_header(&name);
    }
}

/// The names in the certificate that the client showed, if it did; TLS has verified it.
fn shown(session: &Session) -> Option<&[String]> {
    let digest = session.digest()?.proxy_digest.as_ref()?;
    shared_of(digest)?.names.get().map(Vec::as_slice)
}

impl App {
    /// Whether anybody is asked who they are.
    fn asks_anybody(&self, ctx: &RequestContext) -> bool {
        let Some(guard) = &self.guard else { return false };
        guard.is_required || ctx.table.as_ref().is_some_and(|table| table.asks_anybody)
    }

    /// Finds out who the request is from, where anybody is asked.
    pub(crate) fn identify(&self, session: &Session, ctx: &mut RequestContext) {
        let Some(guard) = self.guard.as_ref().filter(|_| self.asks_anybody(ctx)) else { return };
        ctx.identity = self.prove(guard, session, ctx);
    }

    fn prove(
        &self,
        guard: &Guard,
        session: &Session,
        ctx: &RequestContext,
    ) -> Result<Option<Arc<Identity>>, Denied> {
        let headers = &session.req_header().headers;
        let of_listener = || guard.rules.as_ref().map(|live| live.table());
        let table = ctx.table.clone().or_else(of_listener);
        let none = AuthRules::default();
        let rules = table.as_ref().map_or(&none, |table| &table.auth);
        let names = shown(session).unwrap_or_default();
        guard.authority.identify(headers, names, rules, self.clock.utc_us())
    }

    /// Refuses a request whose connection showed no certificate where `route` needs one. What the
    /// cache asks was judged in front of it.
    pub(crate) fn needs_certificate(
        &self,
        session: &Session,
        route: &Route,
    ) -> Result<(), Refusal> {
        if !route.auth.needs_certificate || self.is_behind || shown(session).is_some() {
            return Ok(());
        }
        Err(Refusal::without_certificate())
    }

    /// Lets the request in to what `route` does, or to `path` of the router where there is none.
    pub(crate) fn let_in(
        &self,
        session: &Session,
        ctx: &mut RequestContext,
        route: Option<&Route>,
        path: &str,
    ) -> Result<(), Refusal> {
        let Some(guard) = &self.guard else { return Ok(()) };
        let rules = ctx.table.as_ref().map(|table| &table.auth);
        let usual = guard.is_required || rules.is_some_and(|rules| rules.is_required);
        let (usual, access) = match route.map(|route| &route.action) {
            None | Some(Action::Local) if rules.is_some_and(|rules| rules.is_open(path)) => {
                (false, Access::Open)
            }
            None | Some(Action::Local) => {
                (usual, (guard.access)(&session.req_header().method, path))
            }
            Some(Action::Upstream(_)) => (usual, Access::Known),
            // What everybody is told alike.
            Some(Action::Redirect(..) | Action::Answer(..)) => (false, Access::Known),
        };
        let is_required = route.and_then(|route| route.auth.is_required).unwrap_or(usual);
        if access == Access::Proof && !self.asks_anybody(ctx) {
            ctx.identity = self.prove(guard, session, ctx);
        } else if access == Access::Open || (!is_required && access != Access::Proof) {
            return Ok(());
        }
        let denied = match &ctx.identity {
            Ok(Some(identity)) if access.is_granted(identity) => {
                guard.authority.granted(identity);
                ctx.is_let_in = true;
                ctx.judged_us = self.clock.monotonic_us();
                return Ok(());
            }
            Ok(Some(_)) => Denied::Forbidden(access),
            Ok(None) => Denied::Missing,
            Err(denied) => denied.clone(),
        };
        let now_ms = self.clock.monotonic_us() / 1_000;
        let denied = guard.authority.refused(denied, ctx.client, now_ms);
        if let Denied::TooMany(wait_ms) = denied {
            ctx.limited = LimitHeaders::retry_after(wait_ms);
        }
        Err(denied.refusal())
    }

    /// Fails where something passes by a tunnel whose credential is good no longer: the key was
    /// revoked, the token is over. Judged anew once in [`JUDGED_EVERY_US`] at most.
    pub(crate) fn still_lets_in(&self, session: &Session, ctx: &mut RequestContext) -> Result<()> {
        let Some(guard) = self.guard.as_ref().filter(|_| ctx.is_let_in) else { return Ok(()) };
        let now_us = self.clock.monotonic_us();
        if now_us.saturating_sub(ctx.judged_us) < JUDGED_EVERY_US {
            return Ok(());
        }
        ctx.judged_us = now_us;
        match self.prove(guard, session, ctx) {
            Ok(Some(identity)) if Access::Known.is_granted(&identity) => Ok(()),
            _ => {
                let why = "the credential of a tunnel is good no longer";
                Err(Error::explain(ErrorType::HTTPStatus(401), why).into_down())
            }
        }
    }

    /// Says to an upstream server who the request is from, and nothing that only we should know.
    pub(crate) fn tell_identity(
        &self,
        request: &mut RequestHeader,
        ctx: &RequestContext,
    ) -> Result<()> {
        let Ok(Some(identity)) = &ctx.identity else { return Ok(()) };
        if !ctx.is_let_in {
            return Ok(());
        }
        if !ctx.route().is_some_and(|route| route.auth.forwards) {
            request.remove_header(&X_API_KEY);
            let others: Vec<HeaderValue> =
                request.headers.get_all(AUTHORIZATION).iter().cloned().collect();
            request.remove_header(&AUTHORIZATION);
            for value in others.into_iter().filter(|value| !is_bearer(value)) {
                request.append_header(AUTHORIZATION, value)?;
            }
        }
        if let Ok(user) = HeaderValue::from_bytes(identity.user.as_str().as_bytes()) {
            request.insert_header(X_AUTHENTICATED_USER, user)?;
        }
        Ok(())
    }
}
