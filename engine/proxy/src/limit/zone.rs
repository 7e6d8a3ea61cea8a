//! Owns the zones: what is known of every key that was seen, shared by all network threads.
//!
//! Refuses to know requests and what a limit is. Bound: the bytes of the zone. A zone is cut into
//! [`SHARD_COUNT`] parts by key, each behind a lock that is held for one look-up; each part forgets
//! the key used the longest ago when it is full.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use truststram_base::Counter;

use super::bucket::{Bucket, Rate};
use super::key::Key;
use super::spec::{Counts, ZoneSpec};
use super::table::Table;

const SHARD_COUNT: usize = 16;

/// What became of the requests that a zone was asked about.
#[derive(Debug, Default)]
pub struct ZoneStats {
    /// Let through at once.
    pub passed: Counter,
    /// Let through after a wait.
    pub delayed: Counter,
    /// Refused.
    pub rejected: Counter,
    /// Would have waited, in a dry run.
    pub delayed_dry_run: Counter,
    /// Would have been refused, in a dry run.
    pub rejected_dry_run: Counter,
    /// Keys that were forgotten, or not taken in, for want of room.
    pub full: Counter,
}

/// Tables of keys, each behind a lock of its own.
#[derive(Debug)]
pub(super) struct Shards<V> {
    tables: Vec<Mutex<Table<V>>>,
    hasher: RandomState,
}

impl<V: Copy> Shards<V> {
    pub(super) fn new(bytes_max: usize) -> Self {
        let table = || Mutex::new(Table::new(bytes_max / SHARD_COUNT));
        Self {
            tables: std::iter::repeat_with(table).take(SHARD_COUNT).collect(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn lock(&self, key: &[u8]) -> MutexGuard<'_, Table<V>> {
        let shard = self.hasher.hash_one(key) as usize % SHARD_COUNT;
        // A table is whole between any two of its operations.
        self.tables[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.each().map(|table| table.len()).sum()
    }

    /// Every table, one after the other.
    pub(super) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Table<V>>> {
        self.tables.iter().map(|table| table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A leaky bucket for every key.
#[derive(Debug)]
pub struct RateZone {
    name: String,
    key: Key,
    rate: Rate,
    bytes_max: usize,
    buckets: Shards<Bucket>,
    stats: ZoneStats,
}

/// What a look-up came to.
pub(crate) enum Looked {
    /// There is room for the request; with this excess, where it was accounted or known.
    Room(u64),
    /// The excess would pass the limit.
    Over(u64),
}

impl RateZone {
    /// A zone of at most `bytes_max`.
    pub(crate) fn new(name: &str, key: Key, rate: Rate, bytes_max: usize) -> Self {
        let (buckets, stats) = (Shards::new(bytes_max), ZoneStats::default());
        Self { name: name.to_owned(), key, rate, bytes_max, buckets, stats }
    }

    pub(crate) fn is_made_from(&self, spec: &ZoneSpec) -> bool {
        let same = self.name == spec.name && self.key == spec.key;
        same && spec.counts == Counts::Rate(self.rate) && self.bytes_max == spec.bytes_max
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What became of the requests.
    pub fn stats(&self) -> &ZoneStats {
        &self.stats
    }

    /// How many keys are known.
    pub fn key_count(&self) -> usize {
        self.buckets.len()
    }

    /// What it counts by.
    pub fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Looks whether one more request fits below `burst` thousandths; accounts it if `account`.
    pub(crate) fn look(&self, key: &[u8], burst: u64, now_ms: u64, account: bool) -> Looked {
        let mut table = self.buckets.lock(key);
        if let Some(bucket) = table.get(key) {
            let excess = bucket.with_one_more(self.rate, now_ms);
            if excess > burst {
                return Looked::Over(excess);
            }
            if account {
                bucket.account(excess, now_ms);
            }
            return Looked::Room(excess);
        }
        let mut bucket = Bucket::FRESH;
        if account {
            bucket.account(0, now_ms);
        }
        self.insert(&mut table, key, bucket, now_ms);
        Looked::Room(0)
    }

    /// Accounts a request that every zone has room for; returns its excess.
    pub(crate) fn account(&self, key: &[u8], now_ms: u64) -> u64 {
        let mut table = self.buckets.lock(key);
        if let Some(bucket) = table.get(key) {
            let excess = bucket.with_one_more(self.rate, now_ms);
            bucket.account(excess, now_ms);
            return excess;
        }
        // It had to make room since it was looked at.
        let mut bucket = Bucket::FRESH;
        bucket.account(0, now_ms);
        self.insert(&mut table, key, bucket, now_ms);
        0
    }

    fn insert(&self, table: &mut Table<Bucket>, key: &[u8], bucket: Bucket, now_ms: u64) {
        // Two at a time, so that the table shrinks while keys come.
        for _ in 0..2 {
            match table.oldest() {
                Some(oldest) if oldest.is_idle(self.rate, now_ms) => table.remove_oldest(),
                _ => break,
            }
        }
        while !table.has_room(key) && table.oldest().is_some() {
            table.remove_oldest();
            self.stats.full.add(1);
        }
        table.insert(key, bucket);
    }
}

/// A count of requests under way for every key.
#[derive(Debug)]
pub struct InFlightZone {
    name: String,
    key: Key,
    bytes_max: usize,
    counts: Shards<u32>,
    stats: ZoneStats,
}

impl InFlightZone {
    /// A zone of at most `bytes_max`.
    pub(crate) fn new(name: &str, key: Key, bytes_max: usize) -> Self {
        let (counts, stats) = (Shards::new(bytes_max), ZoneStats::default());
        Self { name: name.to_owned(), key, bytes_max, counts, stats }
    }

    pub(crate) fn is_made_from(&self, spec: &ZoneSpec) -> bool {
        let same = self.name == spec.name && self.key == spec.key;
        same && spec.counts == Counts::InFlight && self.bytes_max == spec.bytes_max
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What became of the requests.
    pub fn stats(&self) -> &ZoneStats {
        &self.stats
    }

    /// How many keys have requests under way.
    pub fn key_count(&self) -> usize {
        self.counts.len()
    }

    /// What it counts by.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Takes a place below `at_most`; a zone without room for another key has none.
    pub(crate) fn enter(&self, key: &[u8], at_most: u32) -> bool {
        let mut table = self.counts.lock(key);
        if let Some(count) = table.get(key) {
            let is_free = *count < at_most;
            *count += u32::from(is_free);
            return is_free;
        }
        if !table.has_room(key) {
            self.stats.full.add(1);
            return false;
        }
        table.insert(key, 1);
        true
    }

    /// Gives a place back.
    pub(crate) fn leave(&self, key: &[u8]) {
        let mut table = self.counts.lock(key);
        match table.get(key) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => table.remove(key),
            None => {}
        }
    }
}
