//! Owns what is said of answers that are kept: for all routes, and for one.
//!
//! Refuses to read conditions; the gateway does. Bound: one list.

use truststram_proxy::{CacheRuleSpec, Lifetimes};

use super::Check;
use crate::config::raw;

/// Longest time that an answer may be fresh, as the cache counts.
pub(in crate::config) const SECONDS_MAX: u64 = 1 << 31;

/// Most requests that an answer may have to be asked for by.
pub(in crate::config) const USES_MAX: u32 = 1_000_000;

pub(super) fn lifetimes(all: &[raw::CacheLifetime]) -> Lifetimes {
    all.iter().map(|one| (one.status, one.seconds)).collect()
}

impl Check<'_> {
    /// Judges lifetimes, which stand at `key`.
    pub(super) fn lifetimes(&mut self, key: &str, all: &[raw::CacheLifetime]) {
        for (index, one) in all.iter().enumerate() {
            if one.status.is_some_and(|status| !(200..=599).contains(&status)) {
                self.fail(key, "has a status that is not 200 to 599");
            }
            if one.seconds > SECONDS_MAX {
                self.fail(key, format!("must be 0 to {SECONDS_MAX} seconds"));
            }
            if all[..index].iter().any(|earlier| earlier.status == one.status) {
                let what = match one.status {
                    Some(status) => status.to_string(),
                    None => "an entry without a status".to_owned(),
                };
                self.fail(key, format!("has {what} twice"));
            }
        }
    }

    pub(super) fn cache_rules(&mut self, key: &str, route: &raw::Route) -> CacheRuleSpec {
        let given = [
            ("cache_lifetimes", route.cache_lifetimes.is_empty()),
            ("cache_bypass", route.cache_bypass.is_empty()),
            ("cache_no_store", route.cache_no_store.is_empty()),
            ("cache_key", route.cache_key.is_empty()),
            ("cache_min_uses", route.cache_min_uses == 1),
        ];
        for (name, _) in given.into_iter().filter(|(_, is_empty)| !route.cache && !is_empty) {
            self.fail(&format!("{key}.{name}"), "needs `cache = true` in this route");
        }
        if !(1..=USES_MAX).contains(&route.cache_min_uses) {
            self.fail(&format!("{key}.cache_min_uses"), format!("must be 1 to {USES_MAX}"));
        }
        self.lifetimes(&format!("{key}.cache_lifetimes"), &route.cache_lifetimes);
        CacheRuleSpec {
            lifetimes_s: lifetimes(&route.cache_lifetimes),
            bypass: route.cache_bypass.clone(),
            no_store: route.cache_no_store.clone(),
            key: route.cache_key.clone(),
            uses_min: route.cache_min_uses,
        }
    }
}
