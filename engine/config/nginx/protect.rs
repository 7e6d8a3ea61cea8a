//! Owns what keeps somebody out: `allow`, `deny`, `auth_*`, `internal`, `limit_except` and the
//! certificates of clients.
//!
//! Refuses to let in whom the file keeps out: a location whose protection cannot be had answers 403
//! or 404 to all, and what not even that replaces is on a list of its own, with which a conversion
//! fails. Bound: the directives of four levels.

use super::http::Conversion;
use super::parse::Directive;
use super::proxy::Scope;
use crate::config::raw::{HeaderEdits, Route};

/// What protects the locations of a level.
#[derive(Clone, Debug, Default)]
pub(super) struct Protection {
    access: Vec<Directive>,
    has_own_access: bool,
    auth: Vec<Directive>,
    internal: Option<Directive>,
    verify: Option<Directive>,
    authorities: Option<Directive>,
    revoked: Option<Directive>,
}

impl Protection {
    /// That of the level below.
    pub(super) fn child(&self) -> Self {
        Self { has_own_access: false, internal: None, ..self.clone() }
    }

    fn asks(&self) -> Option<&Directive> {
        self.verify.as_ref().filter(|verify| verify.argument(0) == "on")
    }
}

/// Whether a block refuses somebody what others may have.
pub(super) fn protects(block: &Directive) -> bool {
    let refuses = |one: &Directive| match one.name.as_str() {
        "deny" | "internal" | "limit_except" => true,
        "return" => one.argument(0).parse::<u16>().is_ok_and(|status| status >= 400),
        name if name.starts_with("auth_") => one.argument(0) != "off",
        _ => false,
    };
    block.inside().iter().any(|one| refuses(one) || protects(one))
}

impl Conversion {
    /// Takes a directive into what protects a level; `false` if it does not protect.
    pub(super) fn protection(&mut self, scope: &mut Scope, directive: &Directive) -> bool {
        let protection = &mut scope.protection;
        let this = Some(directive.clone());
        match directive.name.as_str() {
            "allow" | "deny" => {
                if !std::mem::replace(&mut protection.has_own_access, true) {
                    protection.access.clear();
                }
                protection.access.extend(this);
            }
            "auth_basic" | "auth_request" | "auth_jwt" => {
                protection.auth.retain(|other| other.name != directive.name);
                protection.auth.extend(this.filter(|one| one.argument(0) != "off"));
            }
            "internal" => protection.internal = this,
            "ssl_verify_client" => protection.verify = this,
            "ssl_client_certificate" => protection.authorities = this,
            "ssl_crl" => protection.revoked = this,
            _ => return false,
        }
        true
    }

    /// Puts limits on a route that is served after them, and closes it where it is protected in a
    /// way that we have not.
    pub(super) fn guard(&mut self, scope: &Scope, route: &mut Route) {
        route.limit_requests.clone_from(&scope.rates);
        route.limit_in_flight.clone_from(&scope.places);
        let Protection { access, auth, internal, .. } = &scope.protection;
        if let Some(internal) = internal {
            close(route, 404);
            return self.note(internal, "is answered 404, as nginx answers clients");
        }
        for one in auth {
            close(route, 403);
            self.note(one, "nobody is asked who he is: all are answered 403");
        }
        let is_all = |one: &&Directive| one.argument(0) == "all";
        match access.first().filter(is_all).map(|first| first.name.as_str()) {
            Some("deny") => close(route, 403),
            Some(_) => {}
            None if access.iter().any(|one| one.name == "deny") => {
                close(route, 403);
                for one in access {
                    self.note(one, "routes do not tell addresses apart: all are answered 403");
                }
            }
            None => {
                for one in access {
                    self.note(one, "changes nothing without `deny`");
                }
            }
        }
    }

    /// Leaves `route` the methods of `except`, and makes one that refuses all others.
    pub(super) fn other_methods(&mut self, route: &mut Route, except: &Directive) -> Route {
        let mut other = Route { name: format!("{} except", route.name), ..route.clone() };
        close(&mut other, 403);
        route.methods.clone_from(&except.arguments);
        let is_plain =
            matches!(except.inside(), [one] if one.name == "deny" && one.argument(0) == "all");
        if !is_plain {
            self.note(except, "all other methods are answered 403, whoever asks");
        }
        other
    }

    /// Whether clients of the listener with TLS show certificates, from what its servers say.
    pub(super) fn clients(&mut self, servers: &[Protection]) {
        for server in servers.iter().filter(|server| server.asks().is_none()) {
            let verify = server.verify.as_ref().filter(|verify| verify.argument(0) != "off");
            for one in [verify, server.authorities.as_ref()].into_iter().flatten() {
                self.note(one, "certificates are asked of all clients or of none: here of none");
            }
        }
        let asking = || servers.iter().filter(|server| server.asks().is_some());
        let path =
            |server: &Protection| server.authorities.as_ref().map(|one| one.argument(0).to_owned());
        let Some(first) = asking().next() else { return };
        let is_one = asking().count() == servers.len()
            && asking().all(|server| path(server).is_some() && path(server) == path(first));
        match path(first).filter(|_| is_one) {
            Some(path) => self.raw.gateway.tls_client_ca = self.path(&path),
            None => {
                for verify in asking().filter_map(Protection::asks) {
                    let why = "needs one `ssl_client_certificate`, the same for all servers with \
                               TLS: without it clients without a certificate would be let in";
                    self.weakens(verify, why);
                }
            }
        }
        for revoked in asking().filter_map(|server| server.revoked.as_ref()) {
            self.weakens(revoked, "clients with revoked certificates would be let in");
        }
    }
}

/// Has a route answer `status` and nothing else.
fn close(route: &mut Route, status: u16) {
    *route = Route {
        name: std::mem::take(&mut route.name),
        path: route.path.take(),
        path_exact: route.path_exact.take(),
        path_regex: route.path_regex.take(),
        response_headers: HeaderEdits {
            remove: Vec::new(),
            ..std::mem::take(&mut route.response_headers)
        },
        access_log: route.access_log,
        limit_requests: std::mem::take(&mut route.limit_requests),
        limit_in_flight: std::mem::take(&mut route.limit_in_flight),
        status: Some(status),
        ..Route::default()
    };
}
