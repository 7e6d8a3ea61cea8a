//! Owns how the operator sets the cache, and what it counts.
//!
//! Refuses to read configuration. Bound: a fixed set of counters.

use std::time::Duration;

use http::StatusCode;
use truststram_base::Counter;

/// Seconds by status; without a status for all that are not named.
pub type Lifetimes = Vec<(Option<u16>, u64)>;

/// What `lifetimes` say of `status`.
pub(super) fn lifetime_of(lifetimes: &Lifetimes, status: StatusCode) -> Option<u64> {
    let of = |wanted| lifetimes.iter().find(|(code, _)| *code == wanted).map(|(_, time)| *time);
    of(Some(status.as_u16())).or_else(|| of(None))
}

/// How a cache works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// Memory for all responses.
    pub bytes_max: usize,
    /// Largest body that is stored.
    pub object_bytes_max: usize,
    /// Seconds that responses of a status are fresh where they do not say it themselves.
    pub lifetimes_s: Lifetimes,
    /// Seconds after their lifetime in which stale responses answer while they are validated in
    /// the background, unless the response says otherwise.
    pub stale_while_revalidate_s: u64,
    /// Seconds after their lifetime in which stale responses answer in place of an error of the
    /// origin, unless the response forbids it.
    pub stale_if_error_s: u64,
    /// Whether of several requests for one key only one goes to the origin.
    pub is_locked: bool,
    /// How long a request waits for the one that goes to the origin.
    pub lock_timeout: Duration,
    /// After this time another request goes to the origin too.
    pub lock_age: Duration,
    /// How long a read from the origin may stall.
    pub read_timeout: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            object_bytes_max: 1 << 20,
            lifetimes_s: Vec::new(),
            stale_while_revalidate_s: 0,
            stale_if_error_s: 0,
            is_locked: true,
            lock_timeout: Duration::from_secs(5),
            lock_age: Duration::from_secs(5),
            read_timeout: Duration::from_secs(60),
        }
    }
}

impl CacheOptions {
    pub(crate) fn refreshes_within_s(&self) -> Option<u64> {
        Some(self.stale_while_revalidate_s).filter(|seconds| *seconds > 0)
    }
}

/// What a cache counts.
#[derive(Debug, Default)]
pub struct CacheStats {
    /// Requests answered by a fresh response.
    pub hits: Counter,
    /// Requests answered by a stale one.
    pub stale: Counter,
    /// Requests that went to the origin.
    pub forwarded: Counter,
    /// Requests that waited for another one's response and were answered by it.
    pub collapsed: Counter,
    /// Stored responses that the origin said are still valid.
    pub validated: Counter,
    /// Responses stored.
    pub stored: Counter,
    /// Keys made invalid by unsafe requests.
    pub invalidated: Counter,
    /// Requests that the origin did not answer.
    pub failed: Counter,
}
