//! Owns how many requests of each key came on a day of UTC, and which counts have changed since
//! they were asked for last, so that somebody can keep them.
//!
//! Refuses to know where they are kept. Bound: the bytes of the zone; a full one forgets the key
//! used the longest ago, and with it what that used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::key::{Key, Subject};
use super::limiter::{Limits, USES_MAX};
use super::spec::{Counts, ZoneSpec};
use super::table::Table;
use super::zone::{Shards, ZoneStats};

/// Seconds of a day.
pub(super) const DAY_S: u64 = 86_400;
const DAY_US: i64 = 86_400_000_000;

/// The day of a time, counted from the Unix epoch.
pub fn day_of(utc_us: i64) -> u32 {
    u32::try_from(utc_us.div_euclid(DAY_US)).unwrap_or(0)
}

/// How a zone of days is used.
#[derive(Clone, Debug)]
pub(crate) struct DayUse {
    pub(crate) zone: Arc<DayZone>,
    /// Requests of one key that a day has.
    pub(crate) at_most: u64,
}

/// What one key has used.
#[derive(Clone, Copy, Debug)]
struct Used {
    day: u32,
    count: u64,
    /// The round in which it was asked about last.
    round: u64,
    /// Whether this count was given away to be kept, and whether any was.
    is_given: bool,
    is_known: bool,
}

impl Used {
    fn first(day: u32, round: u64) -> Self {
        Self { day, count: 1, round, is_given: false, is_known: false }
    }
}

/// A count that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayCount {
    /// The key, as bytes.
    pub key: Box<[u8]>,
    /// The day, as [`day_of`] counts.
    pub day: u32,
    /// Requests of that day.
    pub count: u64,
    /// Whether none of this key was given before.
    pub is_first: bool,
}

/// The requests of a day for every key.
#[derive(Debug)]
pub struct DayZone {
    name: String,
    key: Key,
    bytes_max: usize,
    used: Shards<Used>,
    round: AtomicU64,
    stats: ZoneStats,
}

impl DayZone {
    /// A zone of at most `bytes_max`.
    pub fn new(name: &str, key: Key, bytes_max: usize) -> Self {
        let (used, stats) = (Shards::new(bytes_max), ZoneStats::default());
        Self { name: name.to_owned(), key, bytes_max, used, round: AtomicU64::new(0), stats }
    }

    pub(crate) fn is_made_from(&self, spec: &ZoneSpec) -> bool {
        let same = self.name == spec.name && self.key == spec.key;
        same && spec.counts == Counts::Day && self.bytes_max == spec.bytes_max
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
        self.used.len()
    }

    /// What it counts by.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What `key` has used of `day`.
    pub fn used(&self, key: &[u8], day: u32) -> u64 {
        let found = self.used.lock(key).peek(key).filter(|used| used.day == day);
        found.map_or(0, |used| used.count)
    }

    /// Counts one more request below `at_most`; with the count, and whether it was counted.
    fn take(&self, key: &[u8], at_most: u64, day: u32) -> (u64, bool) {
        let mut table = self.used.lock(key);
        // Read with the lock held: who walks along a table has begun its round before.
        let round = self.round.load(Ordering::Relaxed);
        let Some(used) = table.get(key) else {
            self.insert(&mut table, key, Used::first(day, round));
            return (1, true);
        };
        // A clock that went back stays on the later day, so that no day is had twice.
        if used.day < day {
            (used.day, used.count) = (day, 0);
        }
        used.round = round;
        if used.count >= at_most {
            return (used.count, false);
        }
        (used.count, used.is_given) = (used.count + 1, false);
        (used.count, true)
    }

    /// Takes back one that was counted.
    fn give_back(&self, key: &[u8]) {
        let mut table = self.used.lock(key);
        let round = self.round.load(Ordering::Relaxed);
        if let Some(used) = table.get(key) {
            (used.count, used.round, used.is_given) = (used.count.saturating_sub(1), round, false);
        }
    }

    /// Adds what was kept of a key to what came since.
    pub fn restore(&self, kept: &DayCount) {
        let mut table = self.used.lock(&kept.key);
        let round = self.round.load(Ordering::Relaxed);
        match table.get(&kept.key) {
            Some(used) => {
                used.round = round;
                if used.day == kept.day {
                    (used.count, used.is_given) = (used.count.saturating_add(kept.count), false);
                }
            }
            None => {
                let first = Used::first(kept.day, round);
                let is_known = !kept.is_first;
                let known = Used { count: kept.count, is_given: is_known, is_known, ..first };
                self.insert(&mut table, &kept.key, known);
            }
        }
    }

    /// The counts that have changed since the last call. It walks along the keys that were asked
    /// about since, however many the zone has.
    pub fn changes(&self) -> Vec<DayCount> {
        let since = self.round.fetch_add(1, Ordering::Relaxed);
        let mut changes = Vec::new();
        for mut table in self.used.each() {
            table.newest_while(|key, used| {
                if used.round < since {
                    return false;
                }
                if !std::mem::replace(&mut used.is_given, true) {
                    let is_first = !std::mem::replace(&mut used.is_known, true);
                    let Used { day, count, .. } = *used;
                    changes.push(DayCount { key: key.into(), day, count, is_first });
                }
                true
            });
        }
        changes
    }

    fn insert(&self, table: &mut Table<Used>, key: &[u8], used: Used) {
        // Two at a time, so that the table shrinks while keys come.
        for _ in 0..2 {
            match table.oldest() {
                Some(oldest) if oldest.day < used.day => table.remove_oldest(),
                _ => break,
            }
        }
        while !table.has_room(key) && table.oldest().is_some() {
            table.remove_oldest();
            self.stats.full.add(1);
        }
        table.insert(key, used);
    }
}

/// What was taken of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// What each use has counted; `None` where the request has no key.
    pub(crate) used: [Option<u64>; USES_MAX],
    /// Whether a day is used up, so that the request is refused.
    pub(crate) is_over: bool,
    /// Seconds until the next day.
    pub(crate) left_s: u64,
}

impl Limits {
    /// Counts one more request of the day. A zone that refuses leaves the others as they were.
    pub(crate) fn by_day(&self, subject: &Subject<'_>, utc_us: i64) -> Taken {
        let day = day_of(utc_us);
        let left_us = DAY_US - utc_us.rem_euclid(DAY_US);
        let left_s = u64::try_from(left_us).unwrap_or(0).div_ceil(1_000_000);
        let mut taken = Taken { used: [None; USES_MAX], is_over: false, left_s };
        let mut keys: [Vec<u8>; USES_MAX] = Default::default();
        for (index, part) in self.days.iter().enumerate().take(USES_MAX) {
            let key = &mut keys[index];
            part.zone.key().write(subject, key);
            if key.is_empty() {
                continue;
            }
            let (count, is_counted) = part.zone.take(key, part.at_most, day);
            taken.used[index] = Some(count);
            let stats = part.zone.stats();
            match (is_counted, self.is_dry_run) {
                (true, _) => stats.passed.add(1),
                (false, true) => stats.rejected_dry_run.add(1),
                (false, false) => {
                    stats.rejected.add(1);
                    taken.is_over = true;
                    self.take_back(&keys[..index], &mut taken);
                    return taken;
                }
            }
        }
        taken
    }

    fn take_back(&self, keys: &[Vec<u8>], taken: &mut Taken) {
        for ((part, key), used) in self.days.iter().zip(keys).zip(&mut taken.used) {
            if let Some(used) = used {
                part.zone.give_back(key);
                *used = used.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
#[path = "tests/day.rs"]
mod tests;
