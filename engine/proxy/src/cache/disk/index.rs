//! Owns what is known of the files: which there are, for which keys, and which was used the longest
//! ago.
//!
//! Refuses to touch files. Bound: an entry for each file, with its key and its tags.

use std::collections::BTreeMap;

use http::HeaderMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::super::key::{is_below, is_for};
use super::super::memory::{Purge, is_tagged, tags_of};
use super::super::vary::Variant;

/// The name of a file: by the key, then by the variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    key: u128,
    variant: u64,
}

impl Name {
    pub(super) fn new(key: &str, variant: &Variant) -> Self {
        let values = postcard::to_allocvec(&variant.values()).unwrap_or_default();
        Self { key: xxh3_128(key.as_bytes()), variant: xxh3_64(&values) }
    }

    pub(super) fn to_file(self) -> String {
        format!("{:032x}{:016x}", self.key, self.variant)
    }

    pub(super) fn of_file(text: &str) -> Option<Self> {
        let (key, variant) = text.split_at_checked(32).filter(|_| text.len() == 48)?;
        let key = u128::from_str_radix(key, 16).ok()?;
        Some(Self { key, variant: u64::from_str_radix(variant, 16).ok()? })
    }
}

#[derive(Debug)]
struct Entry {
    key: Box<str>,
    tags: Box<str>,
    bytes: u64,
    /// When it was used last, as a number that grows.
    used: u64,
    /// Which writing of it this is.
    turn: u64,
    /// Whether the file is there.
    is_there: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: BTreeMap<Name, Entry>,
    by_use: BTreeMap<u64, Name>,
    bytes: u64,
    next: u64,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Notes a file, which is there or will be; returns which writing of it that is.
    pub(super) fn put(
        &mut self,
        name: Name,
        (key, headers): (&str, &HeaderMap),
        bytes: u64,
        is_there: bool,
    ) -> u64 {
        self.remove(name);
        let used = self.next();
        let (key, tags) = (key.into(), tags_of(headers).into());
        self.entries.insert(name, Entry { key, tags, bytes, used, turn: used, is_there });
        self.by_use.insert(used, name);
        self.bytes += bytes;
        used
    }

    /// Whether a file of that name is known.
    pub(super) fn knows(&self, name: Name) -> bool {
        self.entries.contains_key(&name)
    }

    /// Whether this writing of the file still counts.
    pub(super) fn is_current(&self, name: Name, turn: u64) -> bool {
        self.entries.get(&name).is_some_and(|entry| entry.turn == turn)
    }

    /// Notes that a file is there; whether it still counts.
    pub(super) fn is_written(&mut self, name: Name, turn: u64) -> bool {
        match self.entries.get_mut(&name).filter(|entry| entry.turn == turn) {
            Some(entry) => {
                entry.is_there = true;
                true
            }
            None => false,
        }
    }

    /// Whether a file of `key` is known.
    pub(super) fn has(&self, key: &str) -> bool {
        self.files_of(key).next().is_some()
    }

    /// The files of `key`.
    fn files_of(&self, key: &str) -> impl Iterator<Item = (Name, &Entry)> {
        let hash = xxh3_128(key.as_bytes());
        let all = Name { key: hash, variant: 0 }..=Name { key: hash, variant: u64::MAX };
        let files = self.entries.range(all).map(|(name, entry)| (*name, entry));
        files.filter(move |(_, entry)| *entry.key == *key)
    }

    /// The files that are there for `key`, each with which writing of it that is; they are used
    /// now.
    pub(super) fn of_key(&mut self, key: &str) -> Vec<(Name, u64)> {
        let there = self.files_of(key).filter(|(_, entry)| entry.is_there);
        let found: Vec<(Name, u64)> = there.map(|(name, entry)| (name, entry.turn)).collect();
        for (name, _) in &found {
            let used = self.next();
            if let Some(entry) = self.entries.get_mut(name) {
                self.by_use.remove(&entry.used);
                entry.used = used;
                self.by_use.insert(used, *name);
            }
        }
        found
    }

    /// Forgets a file; whether it was known.
    pub(super) fn remove(&mut self, name: Name) -> bool {
        let Some(entry) = self.entries.remove(&name) else { return false };
        self.by_use.remove(&entry.used);
        self.bytes -= entry.bytes;
        true
    }

    /// Forgets the files used the longest ago until the rest fit.
    pub(super) fn shrink_to(&mut self, bytes_max: u64) -> Vec<Name> {
        let mut removed = Vec::new();
        while self.bytes > bytes_max
            && let Some((_, name)) = self.by_use.pop_first()
        {
            self.remove(name);
            removed.push(name);
        }
        removed
    }

    /// Forgets the files that `purge` names.
    pub(super) fn purge(&mut self, purge: Purge<'_>) -> Vec<Name> {
        let is_meant = |entry: &Entry| match purge {
            Purge::Key(place) => is_for(&entry.key, place),
            Purge::Prefix(prefix) => is_below(&entry.key, prefix),
            Purge::Tag(tag) => is_tagged(&entry.tags, tag),
            Purge::All => true,
        };
        let meant = self.entries.iter().filter(|(_, entry)| is_meant(entry));
        let names = meant.map(|(name, _)| *name).collect();
        self.remove_all(names)
    }

    /// Forgets the files of `key`, but for `kept`.
    pub(super) fn remove_key(&mut self, key: &str, kept: Option<Name>) -> Vec<Name> {
        let names = self.files_of(key).map(|(name, _)| name).filter(|name| kept != Some(*name));
        let names = names.collect();
        self.remove_all(names)
    }

    fn remove_all(&mut self, names: Vec<Name>) -> Vec<Name> {
        for name in &names {
            self.remove(*name);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: &str) -> Name {
        Name::new(key, &Variant::default())
    }

    fn put(index: &mut Index, key: &str, tags: &'static str) -> u64 {
        let mut headers = HeaderMap::new();
        headers.insert("cache-tag", http::HeaderValue::from_static(tags));
        index.put(name(key), (key, &headers), 10, true)
    }

    #[test]
    fn names_are_files_and_back() {
        let one = name("http://a/b");
        assert_eq!(Name::of_file(&one.to_file()), Some(one));
        for bad in ["", "x", &"g".repeat(48), &one.to_file()[1..]] {
            assert_eq!(Name::of_file(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_was_used_the_longest_ago_goes_first() {
        let mut index = Index::default();
        for key in ["http://a/1", "http://a/2", "http://a/3"] {
            put(&mut index, key, "");
        }
        assert_eq!(index.of_key("http://a/1").len(), 1);
        assert_eq!(index.shrink_to(20), [name("http://a/2")]);
        assert_eq!((index.len(), index.bytes()), (2, 20));
        // The same again takes no more room.
        put(&mut index, "http://a/3", "");
        assert_eq!((index.len(), index.bytes()), (2, 20));
    }

    #[test]
    fn purges_by_key_prefix_and_tag() {
        for (purge, count) in [
            (Purge::Key("a/1"), 1),
            (Purge::Key("a"), 0),
            (Purge::Prefix("a/"), 2),
            (Purge::Tag("red"), 2),
            (Purge::Tag("re"), 0),
            (Purge::All, 3),
        ] {
            let mut index = Index::default();
            put(&mut index, "http://a/1", "red, blue");
            put(&mut index, "https://a/2", "blue");
            put(&mut index, "http://b/1", "red");
            assert_eq!(index.purge(purge).len(), count, "{purge:?}");
            assert_eq!(index.len(), 3 - count);
        }
    }

    #[test]
    fn a_writing_that_was_overtaken_does_not_count() {
        let mut index = Index::default();
        let headers = HeaderMap::new();
        let one = name("http://a/1");
        let first = index.put(one, ("http://a/1", &headers), 10, false);
        assert!(index.of_key("http://a/1").is_empty(), "it is not there yet");
        let second = index.put(one, ("http://a/1", &headers), 10, false);
        assert!(!index.is_written(one, first));
        assert!(index.is_written(one, second));
        assert_eq!(index.of_key("http://a/1"), [(one, second)]);
        index.purge(Purge::All);
        assert!(!index.is_written(one, second) && !index.is_current(one, second));
    }
}
