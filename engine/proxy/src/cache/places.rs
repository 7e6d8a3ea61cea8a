//! Owns which keys that routes have made are stored for a place, so that one place is purged
//! without a look at all keys.
//!
//! Refuses to miss a key that is stored; of those that it knows some may be gone. Bound: twice as
//! many keys as are stored, and [`KEYS_MORE`].

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::key::{KeyRule, rule_of};

/// Keys that may be gone before anybody looks which are.
const KEYS_MORE: usize = 1_024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By what they are made: as many as there were routes with keys of their own.
    rules: Vec<KeyRule>,
    /// Keys by what all of one place begin with.
    keys: HashMap<Box<str>, HashSet<Box<str>>>,
    count: usize,
}

impl Known {
    fn add(&mut self, key: &str) {
        let Some((rule, begin)) = rule_of(key) else { return };
        if !self.rules.contains(&rule) {
            self.rules.push(rule);
        }
        let keys = match self.keys.get_mut(begin) {
            Some(keys) => keys,
            None => self.keys.entry(begin.into()).or_default(),
        };
        self.count += usize::from(keys.insert(key.into()));
    }
}

impl Places {
    /// Notes `key`, then has it stored. `stored` are all keys that are, of which there are so many.
    pub(super) fn put<I: Iterator<Item = Box<str>>>(
        &self,
        key: &str,
        store: impl FnOnce(),
        (count, stored): (usize, impl FnOnce() -> I),
    ) {
        // What is known is a set of keys after each step.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.count > 2 * count + KEYS_MORE {
            *known = Known::default();
            stored().for_each(|key| known.add(&key));
        }
        known.add(key);
        // Not after the lock, so that whoever looks next finds it stored.
        store();
    }

    /// The keys for `place`, a host and a target, which are no longer known from here on.
    pub(super) fn take(&self, place: &str) -> Vec<Box<str>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { rules, keys, count } = &mut *known;
        let beginnings = rules.iter().flat_map(|rule| rule.beginnings(place));
        let found: Vec<_> =
            beginnings.filter_map(|begin| keys.remove(begin.as_str())).flatten().collect();
        *count -= found.len();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn key(path: &str, cookie: usize) -> Box<str> {
        let rule = KeyRule::parse(&["host", "path", "cookie:c"], "r").unwrap();
        let headers =
            HeaderMap::from_iter([(http::header::COOKIE, format!("c={cookie}").parse().unwrap())]);
        rule.key("http", ("h", path), &headers)
    }

    #[test]
    fn all_keys_of_a_place_are_taken_and_those_that_are_gone_forgotten() {
        let places = Places::default();
        for index in 0..2_000 {
            // Only the last hundred stay stored.
            let stored = || (index.max(100) - 100..index).map(|index| key("/a", index));
            places.put(&key("/a", index), || {}, (100, stored));
        }
        places.put(&key("/b", 1), || {}, (100, std::iter::empty));
        let count = places.0.lock().unwrap().count;
        assert!((100..=2 * 100 + KEYS_MORE + 1).contains(&count), "{count}");
        let taken = places.take("h/a?any");
        assert!((1_900..2_000).all(|index| taken.contains(&key("/a", index))));
        assert!(places.take("h/a").is_empty() && places.take("i/b").is_empty());
        assert_eq!(places.take("h/b"), [key("/b", 1)]);
        assert_eq!(places.0.lock().unwrap().count, 0);
    }
}
