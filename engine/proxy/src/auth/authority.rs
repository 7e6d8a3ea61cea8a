//! Owns the judgement of credentials, the limit on those that fail, and the counts of both.
//!
//! Refuses to know what is asked for. A good credential is let in whatever failed before at its
//! address. Bound: for each request one hash and one
//! look-up, or one signature.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use truststram_base::{Counter, Credential, Identity};

use super::api_key;
use super::certificate;
use super::denied::Denied;
use super::jwt::Token;
use super::keys::Keys;
use super::presented;
use super::rules::AuthRules;
use super::signer::{OUR_NAME, Signers};
use crate::limit::{Key, Looked, Rate, RateZone, Subject};

/// What became of requests that were asked who they are from.
#[derive(Debug, Default)]
pub struct AuthStats {
    /// Let in by an API key.
    pub by_key: Counter,
    /// Let in by a token of ours.
    pub by_token: Counter,
    /// Let in by a token of another issuer.
    pub by_issuer: Counter,
    /// Let in by a client certificate.
    pub by_certificate: Counter,
    /// Refused for want of a credential.
    pub missing: Counter,
    /// Refused for one that is not good.
    pub invalid: Counter,
    /// Refused for want of a scope or role.
    pub forbidden: Counter,
    /// Not good, and too many of its address were not.
    pub limited: Counter,
}

/// See the module.
#[derive(Debug)]
pub struct Authority {
    keys: Keys,
    signers: Signers,
    failures: Option<RateZone>,
    failure_burst: u32,
    stats: AuthStats,
}

/// Memory of failed attempts.
const FAILURES_BYTES_MAX: usize = 4 << 20;
/// By what they are counted: an address, or a network of IPv6 that one client has.
const FAILURES_KEY: &str = "ip/32/64";

impl Authority {
    /// One without keys, which takes so many failed attempts of an address; `None` for any number.
    pub fn new(failure_rate: Option<Rate>, failure_burst: u32) -> Self {
        let key = FAILURES_KEY.parse::<Key>().ok();
        let zone = key.zip(failure_rate);
        let zone =
            zone.map(|(key, rate)| RateZone::new("auth-failures", key, rate, FAILURES_BYTES_MAX));
        Self {
            keys: Keys::default(),
            signers: Signers::default(),
            failures: zone,
            failure_burst,
            stats: AuthStats::default(),
        }
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What signs tokens.
    pub fn signers(&self) -> &Signers {
        &self.signers
    }

    /// The counts.
    pub fn stats(&self) -> &AuthStats {
        &self.stats
    }

    /// Who a request with these headers is from, by a certificate with these names; `None` if it
    /// does not say. What it presents itself goes before the certificate.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
        names: &[String],
        rules: &AuthRules,
        now_us: i64,
    ) -> Result<Option<Arc<Identity>>, Denied> {
        let Some(text) = presented::credential(headers)? else {
            return Ok(certificate::identify(&rules.holders, names));
        };
        if !api_key::is_meant(text) {
            let token = Token::parse(text).ok_or(Denied::Invalid)?;
            let found = if token.claims.iss == OUR_NAME {
                self.signers.identify(&token, &self.keys, now_us)
            } else {
                let mut issuers = rules.issuers.iter();
                let issuer = issuers.find(|issuer| issuer.is_named(&token.claims.iss));
                issuer.and_then(|issuer| issuer.identify(&token, now_us))
            };
            return found.map(Some).ok_or(Denied::Invalid);
        }
        let parts = api_key::parts(text).ok_or(Denied::Mistyped)?;
        self.keys.check(&parts, now_us).map(Some).ok_or(Denied::Invalid)
    }

    /// Counts a request that was let in.
    pub(crate) fn granted(&self, identity: &Identity) {
        let counter = match identity.by {
            Credential::Key => &self.stats.by_key,
            Credential::Token => &self.stats.by_token,
            Credential::Issuer => &self.stats.by_issuer,
            Credential::Certificate => &self.stats.by_certificate,
        };
        counter.add(1);
    }

    /// Counts a request that was not, and says so in another way where too many failed.
    pub(crate) fn refused(&self, denied: Denied, client: Option<IpAddr>, now_ms: u64) -> Denied {
        let denied = match self.failed(&denied, client, now_ms) {
            Some(wait_ms) => Denied::TooMany(wait_ms),
            None => denied,
        };
        let counter = match denied {
            Denied::Missing => &self.stats.missing,
            Denied::Forbidden(_) => &self.stats.forbidden,
            Denied::TooMany(_) => &self.stats.limited,
            Denied::Several | Denied::Mistyped | Denied::Invalid => &self.stats.invalid,
        };
        counter.add(1);
        denied
    }

    /// The wait where a failed attempt is one too many.
    fn failed(&self, denied: &Denied, client: Option<IpAddr>, now_ms: u64) -> Option<u64> {
        let zone = self.failures.as_ref().filter(|_| denied.is_failure())?;
        let headers = HeaderMap::new();
        let subject = Subject { client, headers: &headers, host: "", path: "", identity: None };
        let mut key = Vec::new();
        zone.key().write(&subject, &mut key);
        let burst_millis = u64::from(self.failure_burst) * 1_000;
        match zone.look(&key, burst_millis, now_ms, true) {
            Looked::Over(excess) => Some(zone.rate().ms_to_drain(excess - burst_millis) + 1),
            Looked::Room(_) => None,
        }
    }
}
