//! Owns what is believed of tokens that others issue.
//!
//! Refuses to fetch keys: they are in the configuration, in a file, which a reload reads anew, or
//! what a thread of its own has fetched last. Bound: what the configuration names.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use truststram_base::{Credential, Identity, Role, Scopes, UserId};

use super::fetched::{Fetched, Place};
use super::jwk::{self, Algorithm, PublicKey};
use super::jwt::Token;
use super::rules::AuthRules;
use super::signer::OUR_NAME;
use crate::route::spec::Fault;

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file with a JWK set.
    File(PathBuf),
    /// The set itself.
    Text(String),
    /// An address by https, fetched anew after such a time.
    Url(String, Duration),
}

/// Somebody whose tokens are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSpec {
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must hold.
    pub audience: String,
    /// The keys.
    pub keys: KeySource,
    /// How tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// Seconds by which clocks may differ.
    pub leeway_s: u32,
    /// What every token of theirs may do.
    pub scopes: Scopes,
    /// What a token may do beside that where its claim `scope` says so.
    pub claimed_scopes: Scopes,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that names the role; empty for none.
    pub role_claim: String,
}

/// The same with its keys.
#[derive(Debug)]
pub(crate) struct Issuer {
    spec: IssuerSpec,
    keys: IssuerKeys,
}

#[derive(Debug)]
enum IssuerKeys {
    Fixed(Vec<PublicKey>),
    Fetched(Arc<Fetched>),
}

impl Issuer {
    /// Reads the keys; `key` is where the issuer stands. Sets that were fetched before stay.
    pub(crate) fn compile(
        spec: &IssuerSpec,
        key: &str,
        before: Option<&AuthRules>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let mut fault = |part: &str, message: String| {
            faults.push(Fault::new(format!("{key}.{part}"), message));
            None
        };
        if spec.issuer.is_empty() || spec.issuer == OUR_NAME {
            let what = format!("`{}` is no name of another issuer", spec.issuer);
            return fault("issuer", what);
        }
        if spec.audience.is_empty() {
            return fault("audience", "is empty; name what tokens for this server say".to_owned());
        }
        if spec.algorithms.is_empty() {
            return fault("algorithms", "is empty; name those that the issuer uses".to_owned());
        }
        let (part, text) = match &spec.keys {
            KeySource::Text(text) => ("jwks", Ok(text.clone())),
            KeySource::File(file) => {
                let read = std::fs::read_to_string(file);
                ("jwks_file", read.map_err(|error| format!("{}: {error}", file.display())))
            }
            KeySource::Url(url, refresh) => {
                let place = match Place::parse(url) {
                    Ok(place) => place,
                    Err(message) => return fault("jwks_url", message),
                };
                let known = before.into_iter().flat_map(AuthRules::fetched).cloned();
                let keys = IssuerKeys::Fetched(Fetched::new(place, *refresh, known));
                return Some(Self { spec: spec.clone(), keys });
            }
        };
        match text.and_then(|text| jwk::parse(&text)) {
            Ok(keys) => Some(Self { spec: spec.clone(), keys: IssuerKeys::Fixed(keys) }),
            Err(message) => fault(part, message),
        }
    }

    /// Whether tokens that say so are theirs.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.spec.issuer == name
    }

    /// Its name, and its keys where they are fetched.
    pub(crate) fn fetched(&self) -> Option<(&str, &Arc<Fetched>)> {
        match &self.keys {
            IssuerKeys::Fixed(_) => None,
            IssuerKeys::Fetched(set) => Some((&self.spec.issuer, set)),
        }
    }

    /// Whether `token` is signed by one of the keys; one whose key is not known has them fetched.
    fn has_signed(&self, token: &Token<'_>) -> bool {
        let algorithms = &self.spec.algorithms;
        match &self.keys {
            IssuerKeys::Fixed(keys) => token.is_signed(keys, algorithms),
            IssuerKeys::Fetched(set) => {
                let keys = set.keys();
                if !token.names_one_of(&keys, algorithms) {
                    set.want();
                }
                token.is_signed(&keys, algorithms)
            }
        }
    }

    /// Who `token` stands for, if it is good.
    pub(crate) fn identify(&self, token: &Token<'_>, now_us: i64) -> Option<Arc<Identity>> {
        let (spec, claims) = (&self.spec, &token.claims);
        let is_good = claims.is_in_time(now_us, spec.leeway_s)
            && claims.is_for(&spec.audience)
            && self.has_signed(token);
        if !is_good {
            return None;
        }
        let text = |name: &str| claims.others.get(name).and_then(Value::as_str);
        let user = match spec.user_claim.as_str() {
            "sub" => claims.sub.as_deref(),
            name => text(name),
        };
        let claimed = claims.scope.split_ascii_whitespace();
        let claimed = claimed.filter(|name| *name != "all");
        let claimed = claimed.filter_map(|name| Scopes::named([name]).ok());
        let claimed = claimed.fold(Scopes::NONE, Scopes::or).and(spec.claimed_scopes);
        Some(Arc::new(Identity {
            user: UserId::new(user?).ok()?,
            key: None,
            scopes: spec.scopes.or(claimed),
            role: text(&spec.role_claim).and_then(Role::named),
            by: Credential::Issuer,
        }))
    }
}
