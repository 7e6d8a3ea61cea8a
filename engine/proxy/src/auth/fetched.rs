//! Owns the keys of an issuer that publishes them at an address: the last good set, and when
//! another is to be fetched.
//!
//! Refuses to fetch. A set that cannot be had leaves the one before. Bound: one set; a key that is
//! not known has it fetched again at most once in [`WANTED_EVERY_US`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;
use http::uri::Scheme;
use tokio::sync::Notify;
use truststram_base::Counter;

use super::jwk::PublicKey;

/// Least time between two fetches, microseconds.
const WANTED_EVERY_US: u64 = 60_000_000;
/// It was never fetched.
const NEVER: u64 = u64::MAX;

/// Where a set is, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) is_tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
}

impl Place {
    /// Reads an address.
    ///
    /// # Errors
    /// Why it is none that keys are fetched from.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` {why}");
        let uri: Uri = text.parse().map_err(|_| wrong("is no address"))?;
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("holds a password; keys are public"));
        }
        let host = authority.host();
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        let address = plain.parse::<std::net::IpAddr>();
        let is_near = plain == "localhost" || address.is_ok_and(|address| address.is_loopback());
        let is_plain = uri.scheme() == Some(&Scheme::HTTP) && is_near;
        if !is_tls && !is_plain {
            return Err(wrong("must begin with https:// (http:// is for this host alone)"));
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            is_tls,
            host: plain.to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            target: target.to_owned(),
        })
    }
}

/// What became of fetches.
#[derive(Debug, Default)]
pub struct FetchStats {
    /// Sets that were taken.
    pub fetched: Counter,
    /// Attempts that failed.
    pub failed: Counter,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) place: Place,
    pub(crate) refresh: Duration,
    keys: ArcSwap<Vec<PublicKey>>,
    /// When it was tried last, monotonic microseconds, and whether that failed.
    tried_us: AtomicU64,
    has_failed: AtomicBool,
    wanted: Notify,
    pub(crate) stats: FetchStats,
}

impl Fetched {
    /// The set at `place`; it goes on from `before` where that is of the same place.
    pub(crate) fn new(
        place: Place,
        refresh: Duration,
        mut before: impl Iterator<Item = Arc<Self>>,
    ) -> Arc<Self> {
        let is_same = |known: &Arc<Self>| known.place == place && known.refresh == refresh;
        before.find(is_same).unwrap_or_else(|| {
            Arc::new(Self {
                place,
                refresh,
                keys: ArcSwap::default(),
                tried_us: AtomicU64::new(NEVER),
                has_failed: AtomicBool::new(false),
                wanted: Notify::new(),
                stats: FetchStats::default(),
            })
        })
    }

    /// The keys now; none before the first set is there.
    pub(crate) fn keys(&self) -> arc_swap::Guard<Arc<Vec<PublicKey>>> {
        self.keys.load()
    }

    /// Takes what a fetch came to.
    pub(crate) fn ended(&self, keys: Option<Vec<PublicKey>>) {
        self.has_failed.store(keys.is_none(), Ordering::Relaxed);
        match keys {
            Some(keys) => {
                self.keys.store(Arc::new(keys));
                self.stats.fetched.add(1);
            }
            None => self.stats.failed.add(1),
        }
    }

    /// The time until it is to be fetched by itself.
    pub(crate) fn due_in(&self, now_us: u64) -> Duration {
        let tried_us = self.tried_us.load(Ordering::Relaxed);
        if tried_us == NEVER {
            return Duration::ZERO;
        }
        let failed = self.has_failed.load(Ordering::Relaxed);
        let every = Duration::from_micros(WANTED_EVERY_US);
        let every = if failed { every } else { self.refresh.max(every) };
        every.saturating_sub(Duration::from_micros(now_us.saturating_sub(tried_us)))
    }

    /// Somebody presented a key that is not in the set.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether it was tried so long ago, if ever, that it may be again; notes that it is.
    pub(crate) fn begin(&self, now_us: u64) -> bool {
        let tried_us = self.tried_us.load(Ordering::Relaxed);
        let is_due = tried_us == NEVER || now_us.saturating_sub(tried_us) >= WANTED_EVERY_US;
        if is_due {
            self.tried_us.store(now_us, Ordering::Relaxed);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_tls_or_from_this_host() {
        let place = Place::parse("https://id.example.com/keys?a=b").unwrap();
        assert_eq!((place.host.as_str(), place.port), ("id.example.com", 443));
        assert_eq!((place.target.as_str(), place.is_tls), ("/keys?a=b", true));
        for near in ["http://127.0.0.1:81/keys", "http://localhost", "http://[::1]:8/keys"] {
            assert!(!Place::parse(near).unwrap().is_tls, "{near}");
        }
        for wrong in [
            "",
            "/keys",
            "http://id.example.com/keys",
            "http://127.0.0.1.example.com/",
            "file:///keys",
            "ftp://127.0.0.1/",
            "https://me:secret@id.example.com/",
            "id.example.com",
        ] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_set_is_not_fetched_again_at_once() {
        let place = Place::parse("https://id.example.com/").unwrap();
        let set = Fetched::new(place, Duration::from_secs(600), std::iter::empty());
        let begins = [5, 6, 60_000_004, 60_000_005, 60_000_006].map(|now_us| set.begin(now_us));
        assert_eq!(begins, [true, false, false, true, false]);
        assert_eq!(set.due_in(60_000_005), Duration::from_secs(600));
        set.ended(None);
        assert_eq!(set.due_in(61_000_005), Duration::from_secs(59));
        set.ended(Some(Vec::new()));
        assert_eq!(set.due_in(61_000_005), Duration::from_secs(599));
    }
}
