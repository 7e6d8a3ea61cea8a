//! Owns one stored response and whether it may answer a request now (RFC 9111, 4; RFC 5861).
//!
//! Refuses to know where it is stored. Bound: the body and headers of one response.

use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::directives::{Directives, Scope};
use super::freshness::{self, Now};
use super::policy::Terms;
use super::vary::Variant;
use crate::direct::Prepared;

/// A response that may be used again.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) variant: Variant,
    pub(crate) terms: Terms,
    /// Its age when it was received.
    initial_age_ms: u64,
    received_ms: u64,
    /// As it is sent, once it was used again.
    pub(super) prepared: OnceLock<Option<Prepared>>,
}

/// How a stored response may be used for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// At once.
    Fresh,
    /// At once, though it is stale; `refresh`: and it is validated behind the answer.
    Stale { refresh: bool },
    /// Only after it was validated.
    Validate {
        /// Whether the client asked for that, not the age of the response.
        for_client: bool,
    },
}

impl Stored {
    /// A response asked for at `asked` and received at `now`; `headers` are those to be stored.
    pub(crate) fn new(
        (status, headers, body): (StatusCode, HeaderMap, Bytes),
        variant: Variant,
        terms: Terms,
        asked: Now,
        now: Now,
    ) -> Self {
        let initial_age_ms = freshness::initial_age_ms(&headers, asked, now);
        let received_ms = now.monotonic_ms;
        let prepared = OnceLock::new();
        Self { status, headers, body, variant, terms, initial_age_ms, received_ms, prepared }
    }

    /// A response that was kept elsewhere and is as old as this.
    pub(super) fn restored(
        (status, headers, body): (StatusCode, HeaderMap, Bytes),
        variant: Variant,
        terms: Terms,
        age_ms: u64,
        now: Now,
    ) -> Self {
        let (initial_age_ms, received_ms) = (age_ms, now.monotonic_ms);
        let prepared = OnceLock::new();
        Self { status, headers, body, variant, terms, initial_age_ms, received_ms, prepared }
    }

    /// Milliseconds since the origin made or validated it.
    pub(crate) fn age_ms(&self, now: Now) -> u64 {
        self.initial_age_ms.saturating_add(now.monotonic_ms.saturating_sub(self.received_ms))
    }

    /// Seconds that it is still fresh; below zero, since when it is stale.
    pub(crate) fn time_to_live_s(&self, now: Now) -> i64 {
        let lifetime = i64::try_from(self.terms.lifetime_s).unwrap_or(i64::MAX);
        lifetime.saturating_sub(i64::try_from(self.age_ms(now) / 1_000).unwrap_or(i64::MAX))
    }

    /// Milliseconds since it became stale; none while it is fresh.
    fn staleness_ms(&self, now: Now) -> Option<u64> {
        self.age_ms(now).checked_sub(self.terms.lifetime_s * 1_000)
    }

    /// How it may be used for a request with these directives.
    pub(crate) fn usable(&self, request: &Directives, now: Now) -> Use {
        if request.no_cache != Scope::Absent {
            return Use::Validate { for_client: true };
        }
        if self.terms.no_cache {
            return Use::Validate { for_client: false };
        }
        let age_ms = self.age_ms(now);
        let is_too_old = request.max_age_s.is_some_and(|seconds| age_ms > seconds * 1_000);
        let stays_fresh = request
            .min_fresh_s
            .is_none_or(|seconds| age_ms + seconds * 1_000 < self.terms.lifetime_s * 1_000);
        if is_too_old || (!stays_fresh && request.max_stale_s.is_none()) {
            return Use::Validate { for_client: true };
        }
        let Some(stale_ms) = self.staleness_ms(now) else { return Use::Fresh };
        if self.terms.must_revalidate {
            return Use::Validate { for_client: false };
        }
        let within = |limit: Option<u64>| limit.is_some_and(|seconds| stale_ms <= seconds * 1_000);
        if within(self.terms.stale_while_revalidate_s) {
            return Use::Stale { refresh: true };
        }
        if within(request.max_stale_s) {
            return Use::Stale { refresh: false };
        }
        Use::Validate { for_client: false }
    }

    /// Whether it may answer in place of an error of the origin; `operator_s` is how long the
    /// operator lets every response do so.
    pub(crate) fn serves_for_error(&self, request: &Directives, operator_s: u64, now: Now) -> bool {
        if self.terms.no_cache || self.terms.must_revalidate {
            return false;
        }
        let Some(stale_ms) = self.staleness_ms(now) else { return true };
        let own = self.terms.stale_if_error_s.or(request.stale_if_error_s).unwrap_or(0);
        stale_ms <= own.max(operator_s).saturating_mul(1_000)
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            64 + name.as_str().len() + value.len()
        };
        let headers: usize = self.headers.iter().map(header).sum();
        // Once as they are, and once as they are sent.
        size_of::<Self>() + 2 * headers + self.variant.bytes() + self.body.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header;

    fn at(seconds: u64) -> Now {
        Now { utc_s: 0, monotonic_ms: seconds * 1_000 }
    }

    /// `Cache-Control` of the response and the request, the age, and what may be done.
    fn check(response: &str, request: &str, age_s: u64, expected: Use, on_error: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, response.parse().unwrap());
        headers.insert(header::ETAG, "\"a\"".parse().unwrap());
        let terms = super::super::policy::terms(
            &http::Method::GET,
            &HeaderMap::new(),
            StatusCode::OK,
            &headers,
            |_| None,
            at(0),
        );
        let parts = (StatusCode::OK, headers, Bytes::new());
        let stored = Stored::new(parts, Variant::default(), terms.unwrap(), at(0), at(0));
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, request.parse().unwrap());
        let request = Directives::of_request(&headers);
        assert_eq!(stored.usable(&request, at(age_s)), expected, "{response:?} {age_s}");
        assert_eq!(stored.serves_for_error(&request, 0, at(age_s)), on_error, "{response:?}");
    }

    #[test]
    fn response_and_request_agree_on_a_use() {
        const FOR_CLIENT: Use = Use::Validate { for_client: true };
        const FOR_AGE: Use = Use::Validate { for_client: false };
        check("max-age=10", "", 9, Use::Fresh, true);
        check("max-age=10", "", 10, FOR_AGE, true);
        check("max-age=10", "", 11, FOR_AGE, false);
        check("max-age=10", "no-cache", 1, FOR_CLIENT, true);
        check("max-age=10", "max-age=5", 5, Use::Fresh, true);
        check("max-age=10", "max-age=5", 6, FOR_CLIENT, true);
        check("max-age=10", "max-age=0", 0, Use::Fresh, true);
        check("max-age=10", "min-fresh=5", 4, Use::Fresh, true);
        check("max-age=10", "min-fresh=5", 5, FOR_CLIENT, true);
        check("max-age=10", "max-stale", 1_000, Use::Stale { refresh: false }, false);
        check("max-age=10", "max-stale=5", 15, Use::Stale { refresh: false }, false);
        check("max-age=10", "max-stale=5", 16, FOR_AGE, false);
        check("max-age=10, must-revalidate", "max-stale", 11, FOR_AGE, false);
        check("s-maxage=10, stale-if-error=99", "max-stale", 11, FOR_AGE, false);
        check("max-age=10, no-cache", "", 1, FOR_AGE, false);
        let swr = "max-age=10, stale-while-revalidate=5";
        check(swr, "", 15, Use::Stale { refresh: true }, false);
        check(swr, "", 16, FOR_AGE, false);
        check("max-age=10, stale-if-error=60", "", 70, FOR_AGE, true);
        check("max-age=10, stale-if-error=60", "", 71, FOR_AGE, false);
        check("max-age=10", "stale-if-error=60", 70, FOR_AGE, true);
    }
}
