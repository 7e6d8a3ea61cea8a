//! Owns the stored responses in memory, by key and variant.
//!
//! Refuses to judge them. Bound: the configured bytes; what is asked for once makes room before
//! what is asked for again, so that a scan does not empty the cache (quick_cache's CLOCK-Pro).
//! At most [`VARIANTS_MAX`] variants of one key.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, HeaderName};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::key::{is_below, is_own};
use super::places::Places;
use super::stored::Stored;
use super::vary::Variant;

const VARIANTS_MAX: usize = 32;
/// What keys begin with.
const SCHEMES: [&str; 2] = ["http://", "https://"];
/// A guess of the size of an entry; it sizes the table.
const ENTRY_BYTES: usize = 8 << 10;
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// The responses of one key, the newest first.
pub(super) type Variants = Arc<Vec<Arc<Stored>>>;

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Box<str>, Variants> for ByBytes {
    fn weight(&self, key: &Box<str>, variants: &Variants) -> u64 {
        let bytes: usize = variants.iter().map(|stored| stored.bytes()).sum();
        // Keys of routes are noted a second time, with what they begin with and their turn.
        let key_bytes = if is_own(key) { 3 * key.len() + 128 } else { key.len() };
        (key_bytes + 64 + bytes) as u64
    }
}

/// What was found for a request.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Nothing,
    /// Other variants.
    NoVariant,
    Stored(Arc<Stored>),
}

impl Found {
    /// That of these responses which `request` would get.
    pub(super) fn among(variants: &Variants, request: &HeaderMap) -> Self {
        match variants.iter().find(|stored| stored.variant.matches(request)) {
            Some(stored) => Self::Stored(stored.clone()),
            None => Self::NoVariant,
        }
    }
}

/// The memory tier.
pub(crate) struct Memory {
    cache: Cache<Box<str>, Variants, ByBytes>,
    places: Places,
}

/// What is removed at an operator's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge<'a> {
    /// One host and path, with its query: `example.org/a?b`.
    Key(&'a str),
    /// Everything that begins like this.
    Prefix(&'a str),
    /// Everything whose `Cache-Tag` or `Surrogate-Key` has this word.
    Tag(&'a str),
    /// Everything.
    All,
}

impl Memory {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let count = (bytes_max / ENTRY_BYTES).max(64);
        let cache = Cache::with_weighter(count, bytes_max as u64, ByBytes);
        Self { cache, places: Places::default() }
    }

    /// The response stored for `key` that `request` would get.
    pub(crate) fn find(&self, key: &str, request: &HeaderMap) -> Found {
        self.cache.get(key).map_or(Found::Nothing, |variants| Found::among(&variants, request))
    }

    /// Whether there is a response for `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.cache.contains_key(key)
    }

    /// The response stored for `key` that `matches` takes.
    pub(super) fn find_by(
        &self,
        key: &str,
        matches: impl Fn(&Variant) -> bool,
    ) -> Option<Arc<Stored>> {
        self.cache.get(key)?.iter().find(|stored| matches(&stored.variant)).cloned()
    }

    /// Stores a response in the place of those that `request` would get.
    pub(crate) fn put(&self, key: &str, request: &HeaderMap, stored: Arc<Stored>) {
        let mut variants = vec![stored];
        // Two threads that put at the same time may lose one of the two, which is asked for again.
        if let Some(known) = self.cache.get(key) {
            let others = known.iter().filter(|other| !other.variant.matches(request));
            // A response without `Vary` stands for all requests from now on.
            let others = others.filter(|_| !variants[0].variant.is_empty()).cloned();
            let others: Vec<_> = others.take(VARIANTS_MAX - 1).collect();
            variants.extend(others);
        }
        self.insert(key, Arc::new(variants));
    }

    fn insert(&self, key: &str, variants: Variants) {
        let store = || self.cache.insert(key.into(), variants);
        if !is_own(key) {
            return store();
        }
        self.places.put(key, store, |key| self.cache.contains_key(key));
    }

    /// Takes in what was kept elsewhere, the newest first, unless there is something newer; returns
    /// what there is now, for which there may be no room.
    pub(super) fn restore(&self, key: &str, mut stored: Vec<Stored>) -> Variants {
        stored.truncate(VARIANTS_MAX);
        self.cache.get(key).unwrap_or_else(|| {
            let variants: Variants = Arc::new(stored.into_iter().map(Arc::new).collect());
            self.insert(key, variants.clone());
            variants
        })
    }

    pub(crate) fn remove(&self, key: &str) -> bool {
        self.cache.remove(key).is_some()
    }

    /// Removes what `purge` names; returns how many keys that were.
    pub(crate) fn purge(&self, purge: Purge<'_>) -> usize {
        let removed = AtomicUsize::new(0);
        let is_kept = |matches: bool| {
            removed.fetch_add(usize::from(matches), Ordering::Relaxed);
            !matches
        };
        match purge {
            Purge::Key(place) => {
                let keys = SCHEMES.map(|scheme| format!("{scheme}{place}"));
                let own = self.places.take(place);
                let keys = keys.iter().map(String::as_str).chain(own.iter().map(|key| &**key));
                return keys.filter(|key| self.remove(key)).count();
            }
            Purge::Prefix(prefix) => {
                self.cache.retain(|key, _| is_kept(is_below(key, prefix)));
            }
            Purge::Tag(tag) => self.cache.retain(|_, variants| {
                is_kept(variants.iter().any(|stored| is_tagged(&tags_of(&stored.headers), tag)))
            }),
            Purge::All => self.cache.retain(|_, _| is_kept(true)),
        }
        removed.into_inner()
    }

    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}

/// The words by which a response may be removed, separated by spaces.
pub(super) fn tags_of(headers: &HeaderMap) -> String {
    let lines = [CACHE_TAG, SURROGATE_KEY].into_iter().flat_map(|name| headers.get_all(name));
    let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    lines.join(" ")
}

/// Whether `tag` is among these words.
pub(super) fn is_tagged(tags: &str, tag: &str) -> bool {
    tags.split([' ', ',', '\t']).any(|word| word == tag && !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{StatusCode, header};

    use crate::cache::freshness::Now;
    use crate::cache::policy::Terms;
    use crate::cache::vary::Variant;

    fn stored(request: &HeaderMap, lines: &[(HeaderName, &str)], body_bytes: usize) -> Arc<Stored> {
        let headers: HeaderMap =
            lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let variant = Variant::of(request, &headers);
        let terms = Terms {
            lifetime_s: 10,
            no_cache: false,
            must_revalidate: false,
            stale_while_revalidate_s: None,
            stale_if_error_s: None,
        };
        let parts = (StatusCode::OK, headers, Bytes::from(vec![0; body_bytes]));
        Arc::new(Stored::new(parts, variant, terms, Now::default(), Now::default()))
    }

    fn language(language: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, language.parse().unwrap())])
    }

    #[test]
    fn a_key_has_a_response_for_each_variant() {
        let memory = Memory::new(1 << 20);
        let vary = [(header::VARY, "accept-language")];
        for name in ["en", "de"] {
            memory.put("a/", &language(name), stored(&language(name), &vary, name.len()));
        }
        let found = |name: &str| memory.find("a/", &language(name));
        assert!(matches!(found("en"), Found::Stored(_)));
        assert!(matches!(found("fr"), Found::NoVariant));
        assert!(matches!(memory.find("b/", &HeaderMap::new()), Found::Nothing));
        memory.put("a/", &language("fr"), stored(&language("fr"), &[], 1));
        assert!(matches!(found("de"), Found::Stored(one) if one.variant.is_empty()));
    }

    #[test]
    fn purges_by_key_prefix_and_tag() {
        let memory = Memory::new(1 << 20);
        let (none, tags) = (HeaderMap::new(), [(CACHE_TAG, "red, blue")]);
        let fill = || {
            memory.put("http://h/a", &none, stored(&none, &[], 1));
            memory.put("https://h/a/b", &none, stored(&none, &tags, 1));
            memory.put("http://i/a", &none, stored(&none, &[(SURROGATE_KEY, "blue gr\u{fc}n")], 1));
        };
        for (purge, removed) in [
            (Purge::Key("h/a"), 1),
            (Purge::Key("h/x"), 0),
            (Purge::Prefix("h/"), 2),
            (Purge::Tag("blue"), 2),
            (Purge::Tag("bl"), 0),
            (Purge::Tag("gr\u{fc}n"), 1),
            (Purge::All, 3),
        ] {
            fill();
            assert_eq!((memory.len(), memory.purge(purge)), (3, removed), "{purge:?}");
        }
    }

    #[test]
    fn the_bytes_are_bounded_and_a_scan_leaves_what_is_asked_for() {
        let memory = Memory::new(4 << 20);
        let none = HeaderMap::new();
        for _ in 0..4 {
            for index in 0..50 {
                let key = format!("hot/{index}");
                if matches!(memory.find(&key, &none), Found::Nothing) {
                    memory.put(&key, &none, stored(&none, &[], 8 << 10));
                }
            }
        }
        for index in 0..5_000 {
            memory.put(&format!("scan/{index}"), &none, stored(&none, &[], 8 << 10));
        }
        assert!(memory.bytes() <= 4 << 20);
        let is_kept =
            |index| matches!(memory.find(&format!("hot/{index}"), &none), Found::Stored(_));
        let kept = (0..50).filter(|index| is_kept(*index)).count();
        assert!(kept >= 40, "{kept} of 50 are left");
    }
}
