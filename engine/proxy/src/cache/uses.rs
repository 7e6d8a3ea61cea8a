//! Owns how often keys were asked for, so that what hardly anybody asks for is not stored (nginx's
//! `proxy_cache_min_uses`).
//!
//! Refuses to keep keys: it counts by their hash. Bound: [`KEYS_MAX`] keys; beyond that what is
//! asked for rarely makes room, and counts anew.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quick_cache::sync::Cache;
use xxhash_rust::xxh3::xxh3_64;

/// Keys that are counted at the same time.
const KEYS_MAX: usize = 1 << 16;

/// See the module.
pub(super) struct Uses(Cache<u64, Arc<AtomicU32>>);

impl Default for Uses {
    fn default() -> Self {
        Self::of(KEYS_MAX)
    }
}

impl Uses {
    fn of(keys_max: usize) -> Self {
        Self(Cache::new(keys_max))
    }

    /// Counts a request for `key`; which one it is, from 1.
    pub(super) fn count(&self, key: &str) -> u32 {
        let hash = xxh3_64(key.as_bytes());
        let made = self.0.get_or_insert_with(&hash, || Ok::<_, Infallible>(Arc::default()));
        let Ok(uses) = made;
        let before = uses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            Some(count.saturating_add(1))
        });
        before.unwrap_or_default().saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_key_and_what_is_asked_for_again_stays() {
        let uses = Uses::of(100);
        assert_eq!([uses.count("a"), uses.count("a"), uses.count("b")], [1, 2, 1]);
        for index in 0..10_000 {
            uses.count(&format!("scan/{index}"));
            uses.count("a");
        }
        assert!(uses.0.len() <= 100);
        assert_eq!(uses.count("a"), 10_003);
    }
}
