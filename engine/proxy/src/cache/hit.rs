//! Owns the use of a fresh response for a request that asks for nothing but it.
//!
//! Refuses all other requests and responses: the whole way through the cache judges them.
//! Bound: one look-up, and one more copy of a head for each response.

use std::io::Write;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};

use super::directives::Directives;
use super::freshness::Now;
use super::rules::CacheRules;
use super::serve::Cache;
use super::status::Handling;
use super::stored::{Stored, Use};
use super::vary::Variant;
use crate::direct::Prepared;

/// Fields that an answer of ours has another value of.
const REPLACED: [HeaderName; 3] =
    [header::AGE, header::CONTENT_LENGTH, HeaderName::from_static("x-request-id")];
/// Fields of the origin that limits may speak over.
const OF_LIMITS: [&str; 2] = ["ratelimit", "ratelimit-policy"];

/// A response that is fresh.
pub(crate) struct Hit {
    stored: Arc<Stored>,
    age_ms: u64,
    time_to_live_s: i64,
}

impl Cache {
    /// The fresh response for a plain request by `scheme`, to this authority and target, by the
    /// rules of its route; `headers` are those of the request.
    pub(crate) fn hit<'a>(
        &self,
        (scheme, authority, target): (&str, &str, &str),
        rules: &CacheRules,
        headers: impl Fn() -> &'a HeaderMap,
        now_us: u64,
    ) -> Option<Hit> {
        let key = rules.key(scheme, (authority, target), &headers);
        let matches = |variant: &Variant| variant.is_empty() || variant.matches(headers());
        let stored = self.memory.find_by(&key, matches)?;
        // The age of what is stored runs by this clock alone.
        let now = Now { monotonic_ms: now_us / 1_000, ..Now::default() };
        if stored.usable(&Directives::default(), now) != Use::Fresh {
            return None;
        }
        let (age_ms, time_to_live_s) = (stored.age_ms(now), stored.time_to_live_s(now));
        stored.prepared()?;
        Some(Hit { stored, age_ms, time_to_live_s })
    }
}

impl Stored {
    /// The response as it is sent, but for what changes from answer to answer.
    fn prepared(&self) -> Option<&Prepared> {
        let make = || {
            if OF_LIMITS.iter().any(|name| self.headers.contains_key(*name)) {
                return None;
            }
            let mut headers = self.headers.clone();
            for name in REPLACED {
                headers.remove(name);
            }
            Prepared::new(self.status, headers, self.body.clone())
        };
        self.prepared.get_or_init(make).as_ref()
    }
}

impl Hit {
    /// What does not change from answer to answer.
    pub(crate) fn prepared(&self) -> Option<&Prepared> {
        self.stored.prepared()
    }

    /// Writes the fields that this answer has beside it.
    pub(crate) fn write(&self, head: &mut Vec<u8>) {
        let handling =
            Handling { time_to_live_s: Some(self.time_to_live_s), ..Handling::default() };
        // Writing to a `Vec` cannot fail.
        let _ = write!(head, "Age: {}\r\n", self.age_ms / 1_000);
        let _ = write!(head, "cache-status: {handling}\r\n");
    }
}
