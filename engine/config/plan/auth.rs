//! Owns the checks of who is let in.
//!
//! Refuses to know keys. Bound: one section.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use truststram_base::{Role, Scopes, UserId};
use truststram_proxy::{
    Algorithm, AuthSpec, HolderSpec, IssuerSpec, Key, KeySource, LimitSpec, Rate, RouteAuth,
};

use super::Check;
use crate::config::raw::{self, AuthMode, ClientAuth};

/// Whom the listeners let in, as far as a reload does not exchange it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthPlan {
    /// Whether operators' requests must say who they are from.
    pub is_admin_required: bool,
    /// How many attempts of one address may fail.
    pub failure_rate: Option<Rate>,
    /// How many above that.
    pub failure_burst: u32,
    /// Seconds for which a token is good, at most.
    pub token_ttl_s: u32,
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
        let waits = raw.overload.wait_key.parse::<Key>().is_ok_and(|key| key.is_of_identity());
        if waits && !asks {
            let why = "counts by who a request is from, and nobody is asked: auth.mode is \"off\"";
            self.fail("overload.wait_key", why);
        }
        AuthPlan {
            is_admin_required: auth.admin == AuthMode::Required,
            failure_rate,
            failure_burst: auth.failure_burst,
            token_ttl_s: auth.token_ttl_s,
        }
    }

    /// An address with TLS may be other than loopback where those who come must prove who they are.
    pub(super) fn tls_address(&mut self, raw: &raw::Raw, insecure: bool) -> Option<SocketAddr> {
        let key = "gateway.tls_listen";
        let text = Some(&raw.gateway.tls_listen).filter(|text| !text.is_empty())?;
        let address = self.address(key, text, true);
        let all_show = !raw.gateway.tls_client_ca.is_empty()
            && raw.gateway.tls_client_auth == ClientAuth::Required;
        let asks = raw.auth.mode == AuthMode::Required || all_show;
        if !address.ip().is_loopback() && !asks && !insecure {
            let why = "is not a loopback address, and everybody would be let in; set auth.mode = \
                       \"required\" or gateway.tls_client_ca, or give --insecure";
            self.fail(key, format!("{address} {why}"));
        }
        Some(address)
    }
}

impl Check<'_> {
    pub(super) fn auth_spec(&mut self, raw: &raw::Raw) -> AuthSpec {
        let auth = &raw.auth;
        if !auth.certificates.is_empty() && raw.gateway.tls_client_ca.is_empty() {
            self.fail("auth.certificates", "needs gateway.tls_client_ca, which vouches for them");
        }
        let issuers = auth.issuers.iter().enumerate();
        let issuers = issuers.filter_map(|(index, one)| self.issuer(index, one)).collect();
        let holders = auth.certificates.iter().enumerate();
        let holders = holders.filter_map(|(index, one)| self.holder(index, one)).collect();
        let is_required = auth.mode == AuthMode::Required;
        AuthSpec { is_required, open: auth.open.clone(), issuers, holders }
    }

    fn issuer(&mut self, index: usize, one: &raw::Issuer) -> Option<IssuerSpec> {
        let key = |part: &str| format!("auth.issuers[{index}].{part}");
        if !(60..=86_400).contains(&one.jwks_refresh_s) {
            self.fail(&key("jwks_refresh_s"), "must be 60 to 86400");
        }
        let refresh = Duration::from_secs(one.jwks_refresh_s);
        let keys = match (&one.jwks_url, &one.jwks_file, &one.jwks) {
            (Some(url), None, None) => KeySource::Url(url.clone(), refresh),
            (None, Some(file), None) => KeySource::File(PathBuf::from(file)),
            (None, None, Some(text)) => KeySource::Text(text.clone()),
            _ => {
                let one_of = "must be there, or `jwks_file` or `jwks`, and one of them alone";
                self.fail(&key("jwks_url"), one_of);
                return None;
            }
        };
        let scopes = self.scopes(&key("scopes"), &one.scopes);
        let claimed_scopes = self.scopes(&key("claimed_scopes"), &one.claimed_scopes);
        if scopes.or(claimed_scopes).is_empty() && one.role_claim.is_empty() {
            let why = "are none, nor `claimed_scopes` or `role_claim`: its tokens could do nothing";
            self.fail(&key("scopes"), why);
        }
        let mut algorithms = Vec::new();
        for name in &one.algorithms {
            match name.parse::<Algorithm>() {
                Ok(algorithm) => algorithms.push(algorithm),
                Err(error) => self.fail(&key("algorithms"), error.to_string()),
            }
        }
        if algorithms.is_empty() && !one.algorithms.is_empty() {
            return None;
        }
        Some(IssuerSpec {
            issuer: one.issuer.clone(),
            audience: one.audience.clone(),
            keys,
            algorithms,
            leeway_s: one.leeway_s,
            scopes,
            claimed_scopes,
            user_claim: one.user_claim.clone(),
            role_claim: one.role_claim.clone(),
        })
    }

    fn holder(&mut self, index: usize, one: &raw::Holder) -> Option<HolderSpec> {
        let key = |part: &str| format!("auth.certificates[{index}].{part}");
        let scopes = self.scopes(&key("scopes"), &one.scopes);
        let role = one.role.as_deref().and_then(Role::named);
        if let Some(name) = one.role.as_deref().filter(|_| role.is_none()) {
            let known = "known: viewer, operator, admin";
            self.fail(&key("role"), format!("`{name}` is no role; {known}"));
        } else if scopes.is_empty() && role.is_none() {
            self.fail(&key("scopes"), "are none, nor is there a role: it could do nothing");
        }
        match UserId::new(one.user.as_deref().unwrap_or(&one.name)) {
            Ok(user) => Some(HolderSpec { name: one.name.clone(), user, scopes, role }),
            Err(error) => {
                self.fail(&key("user"), error.to_string());
                None
            }
        }
    }

    fn scopes(&mut self, key: &str, names: &[String]) -> Scopes {
        Scopes::named(names.iter().map(String::as_str)).unwrap_or_else(|error| {
            self.fail(key, error.to_string());
            Scopes::NONE
        })
    }
}

pub(super) fn of_route(route: &raw::Route) -> RouteAuth {
    RouteAuth {
        is_required: route.auth.map(|mode| mode == AuthMode::Required),
        forwards: route.forward_credentials,
        needs_certificate: route.client_certificate == Some(AuthMode::Required),
    }
}
