//! Owns which keys that routes have made are stored for a place, so that one place is purged
//! without a look at all keys.
//!
//! Refuses to miss a key that is stored; of those that it knows some may be gone. Bound: twice as
//! many keys as were stored at once, since each that is put has [`LOOKS`] others looked at in turn.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::key::{KeyRule, beginning_of, rule_of};

/// Keys that are looked at, whether they are gone, for each that is put.
const LOOKS: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By what they are made and how many keys of each there are, by what is behind the place.
    rules: HashMap<Box<str>, (KeyRule, usize)>,
    /// Keys by what all of one place begin with.
    keys: HashMap<Box<str>, HashSet<Arc<str>>>,
    /// The same keys, those looked at the longest ago first, among some that were taken.
    turns: VecDeque<Arc<str>>,
}

impl Known {
    fn add(&mut self, key: &str) {
        let Some((begin, tail)) = beginning_of(key) else { return };
        if self.keys.get(begin).is_some_and(|keys| keys.contains(key)) {
            return;
        }
        match self.rules.get_mut(tail) {
            Some((_, count)) => *count += 1,
            None => {
                let Some((rule, _)) = rule_of(key) else { return };
                self.rules.insert(tail.into(), (rule, 1));
            }
        }
        let key: Arc<str> = key.into();
        match self.keys.get_mut(begin) {
            Some(keys) => _ = keys.insert(key.clone()),
            None => _ = self.keys.insert(begin.into(), HashSet::from([key.clone()])),
        }
        self.turns.push_back(key);
    }

    /// Forgets those of the next few keys that are gone.
    fn forget_gone(&mut self, is_stored: impl Fn(&str) -> bool) {
        for _ in 0..LOOKS {
            let Some(key) = self.turns.pop_front() else { return };
            let Some((begin, tail)) = beginning_of(&key) else { continue };
            let Some(keys) = self.keys.get_mut(begin) else { continue };
            // One that was taken and put again has another turn.
            if !keys.get(&key).is_some_and(|known| Arc::ptr_eq(known, &key)) {
                continue;
            }
            if is_stored(&key) {
                self.turns.push_back(key);
                continue;
            }
            keys.remove(&key);
            if keys.is_empty() {
                self.keys.remove(begin);
            }
            self.discount(tail, 1);
        }
    }

    /// There are so many keys less of the rule with this tail.
    fn discount(&mut self, tail: &str, less: usize) {
        let Some((_, count)) = self.rules.get_mut(tail) else { return };
        *count -= less;
        if *count == 0 {
            self.rules.remove(tail);
        }
    }

    fn take(&mut self, place: &str) -> Vec<Arc<str>> {
        let beginnings: Vec<String> =
            self.rules.values().flat_map(|(rule, _)| rule.beginnings(place)).collect();
        let mut taken = Vec::new();
        for begin in beginnings {
            let Some(keys) = self.keys.remove(begin.as_str()) else { continue };
            if let Some((_, tail)) = beginning_of(&begin) {
                self.discount(tail, keys.len());
            }
            taken.extend(keys);
        }
        taken
    }
}

impl Places {
    /// Notes `key`, then has it stored. `is_stored` says of others whether they still are.
    pub(super) fn put(&self, key: &str, store: impl FnOnce(), is_stored: impl Fn(&str) -> bool) {
        // What is known is a set of keys after each step.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget_gone(is_stored);
        known.add(key);
        // Not after the lock, so that whoever looks next finds it stored.
        store();
    }

    /// The keys for `place`, a host and a target, which are no longer known from here on.
    pub(super) fn take(&self, place: &str) -> Vec<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use std::cell::Cell;

    fn key(path: &str, cookie: usize) -> Box<str> {
        let rule = KeyRule::parse(&["host", "path", "cookie:c"], "r").unwrap();
        let headers =
            HeaderMap::from_iter([(http::header::COOKIE, format!("c={cookie}").parse().unwrap())]);
        rule.key("http", ("h", path), &headers)
    }

    #[test]
    fn all_keys_of_a_place_are_taken_and_those_that_are_gone_forgotten() {
        let (places, mut stored) = (Places::default(), HashSet::new());
        for index in 0..2_000 {
            let looks = Cell::new(0);
            let is_stored = |key: &str| {
                looks.set(looks.get() + 1);
                stored.contains(key)
            };
            places.put(&key("/a", index), || {}, is_stored);
            assert!(looks.get() <= LOOKS, "{}", looks.get());
            assert!(places.0.lock().unwrap().turns.len() <= 2 * 100 + 1);
            // Only the last hundred stay stored.
            stored.insert(key("/a", index));
            if index >= 100 {
                stored.remove(&key("/a", index - 100));
            }
        }
        places.put(&key("/b", 1), || {}, |key| stored.contains(key));
        let taken = places.take("h/a?any");
        assert!((1_900..2_000).all(|index| taken.iter().any(|one| **one == *key("/a", index))));
        assert!(places.take("h/a").is_empty() && places.take("i/b").is_empty());
        let all = |known: &Known| known.rules.values().map(|(_, count)| count).sum::<usize>();
        assert_eq!(all(&places.0.lock().unwrap()), 1);
        let taken = places.take("h/b");
        assert_eq!(taken.iter().map(|one| &**one).collect::<Vec<_>>(), [&*key("/b", 1)]);
        let known = places.0.lock().unwrap();
        assert!(known.rules.is_empty() && known.keys.is_empty());
    }

    #[test]
    fn a_key_that_is_put_again_has_one_turn() {
        let places = Places::default();
        for _ in 0..100 {
            places.put(&key("/a", 1), || {}, |_| true);
            places.put(&key("/a", 1), || {}, |_| true);
            assert_eq!(places.take("h/a").len(), 1);
            assert!(places.0.lock().unwrap().turns.len() <= LOOKS);
        }
    }
}
