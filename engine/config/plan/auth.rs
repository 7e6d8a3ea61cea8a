//! Owns the checks of who is let in.
//!
//! Refuses to know keys. Bound: one section.

use std::net::SocketAddr;

use truststram_proxy::{AuthSpec, LimitSpec, Rate, RouteAuth};

use super::Check;
use crate::config::raw::{self, AuthMode};

/// Whom the listeners let in, as far as a reload does not exchange it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthPlan {
    /// Whether operators' requests must say who they are from.
    pub is_admin_required: bool,
    /// How many attempts of one address may fail.
    pub failure_rate: Option<Rate>,
    /// How many above that.
    pub failure_burst: u32,
}

impl Check<'_> {
    pub(super) fn auth(&mut self, raw: &raw::Raw, limits: &LimitSpec) -> AuthPlan {
        let auth = &raw.auth;
        let text = auth.failure_rate.as_str();
        let failure_rate = match text.parse::<Rate>() {
            _ if text.is_empty() => None,
            Ok(rate) => Some(rate),
            Err(error) => {
                self.fail("auth.failure_rate", format!("`{text}` {error}"));
                None
            }
        };
        let asks = auth.mode == AuthMode::Required
            || raw.routes.iter().any(|route| route.auth == Some(AuthMode::Required));
        let zones = limits.zones.iter().filter(|zone| zone.key.is_of_identity());
        for zone in zones.filter(|_| !asks) {
            let index = raw.limits.iter().position(|one| one.name == zone.name).unwrap_or(0);
            let why = "counts by who a request is from, and nobody is asked: auth.mode is \"off\"";
            self.fail(&format!("limits[{index}].key"), why);
        }
        AuthPlan {
            is_admin_required: auth.admin == AuthMode::Required,
            failure_rate,
            failure_burst: auth.failure_burst,
        }
    }

    /// An address with TLS may be other than loopback where those who come must prove who they are.
    pub(super) fn tls_address(&mut self, raw: &raw::Raw, insecure: bool) -> Option<SocketAddr> {
        let key = "gateway.tls_listen";
        let text = Some(&raw.gateway.tls_listen).filter(|text| !text.is_empty())?;
        let address = self.address(key, text, true);
        let asks = raw.auth.mode == AuthMode::Required || !raw.gateway.tls_client_ca.is_empty();
        if !address.ip().is_loopback() && !asks && !insecure {
            let why = "is not a loopback address, and everybody would be let in; set auth.mode = \
                       \"required\" or gateway.tls_client_ca, or give --insecure";
            self.fail(key, format!("{address} {why}"));
        }
        Some(address)
    }
}

pub(super) fn spec(auth: &raw::Auth) -> AuthSpec {
    AuthSpec { is_required: auth.mode == AuthMode::Required, open: auth.open.clone() }
}

pub(super) fn of_route(route: &raw::Route) -> RouteAuth {
    RouteAuth {
        is_required: route.auth.map(|mode| mode == AuthMode::Required),
        forwards: route.forward_credentials,
    }
}
