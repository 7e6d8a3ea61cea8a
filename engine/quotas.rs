//! Owns what keys have used of a day between the gateway, which counts, and the store, which keeps
//! it: written behind, every [`BEAT`] and at the end.
//!
//! Refuses to count, and to hold up a request: a process that is killed forgets what came since the
//! last turn. Bound: one thread; records of at most twice the keys that a zone holds, and
//! [`SPARE_RECORDS`].

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use truststram_base::{Clock, Counter, UserId};
use truststram_machine::{MachineError, Priority, Thread, ThreadSpec};
use truststram_proxy::{DayCount, DayZone, Live, day_of};
use truststram_store::{Store, StoreError};

use crate::wire::operate::Parts;

/// How records of counts are called in the store: by zone, by what it counts by, by key.
const PREFIX: &str = "quota/";
/// Time between two turns.
const BEAT: Duration = Duration::from_secs(1);
/// Records of keys that a zone has forgotten, before they are removed.
const SPARE_RECORDS: usize = 4_096;
/// A count as it is kept: the day, then the requests.
const RECORD_BYTES: usize = 12;

/// A count with its zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The name of the zone, and what it counts by.
    zone: (String, String),
    count: DayCount,
}

/// All counts of `day` that `store` has.
///
/// # Errors
/// If it cannot be read.
pub fn of_day(store: &Store, day: u32) -> Result<Vec<Kept>, StoreError> {
    let records = store.access_records(PREFIX)?;
    let kept = records.iter().filter_map(|(name, body)| read(name, body));
    Ok(kept.filter(|kept| kept.count.day == day).collect())
}

/// What a key and its user have used, by the zones that count by one of both.
pub fn used(kept: &[Kept], id: &str, user: &UserId) -> Value {
    let mut shown = Map::new();
    for one in kept {
        let (name, by) = &one.zone;
        if subject(by, id, user) == Some(&one.count.key) {
            shown.insert(name.clone(), one.count.count.into());
        }
    }
    shown.into()
}

/// The same of the zones that count now.
pub fn used_now(zones: &[Arc<DayZone>], day: u32, id: &str, user: &UserId) -> Value {
    let used = |zone: &Arc<DayZone>| {
        let by = zone.key().to_string();
        let key = subject(&by, id, user)?;
        Some((zone.name().to_owned(), zone.used(key, day).into()))
    };
    zones.iter().filter_map(used).collect::<Map<String, Value>>().into()
}

/// As what a key is counted by a zone that counts by `by`.
fn subject<'a>(by: &str, id: &'a str, user: &'a UserId) -> Option<&'a [u8]> {
    match by {
        "api-key" => Some(id.as_bytes()),
        "user" => Some(user.as_str().as_bytes()),
        _ => None,
    }
}

fn prefix(zone: &DayZone) -> String {
    format!("{PREFIX}{}/{}/", zone.name(), zone.key())
}

fn name(prefix: &str, key: &[u8]) -> String {
    let digits = key.iter().map(|byte| format!("{byte:02x}"));
    prefix.chars().chain(digits.collect::<String>().chars()).collect()
}

fn body(count: &DayCount) -> Vec<u8> {
    [&count.day.to_le_bytes()[..], &count.count.to_le_bytes()[..]].concat()
}

/// `None` for a record of another form, which a later version may have written.
fn read(name: &str, body: &[u8]) -> Option<Kept> {
    let (zone, rest) = name.strip_prefix(PREFIX)?.split_once('/')?;
    let (by, digits) = rest.rsplit_once('/')?;
    let digit = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let key: Option<Box<[u8]>> = (0..digits.len()).step_by(2).map(digit).collect();
    let (day, count) = body.get(..RECORD_BYTES)?.split_at(4);
    let day = u32::from_le_bytes(day.try_into().ok()?);
    let count = u64::from_le_bytes(count.try_into().ok()?);
    let count = DayCount { key: key?, day, count, is_first: false };
    Some(Kept { zone: (zone.to_owned(), by.to_owned()), count })
}

type Change = (String, Option<Vec<u8>>);

struct Known {
    zone: Arc<DayZone>,
    prefix: String,
    /// Its records in the store, or more.
    records: usize,
}

/// What is known of the store's records.
struct Book {
    live: Arc<Live>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    known: Vec<Known>,
    day: u32,
    /// Changes that are not written.
    waiting: Vec<Change>,
    /// How often all changes were written.
    turns: Arc<Counter>,
}

impl Book {
    /// Writes what has changed, and reads what is kept of zones that are new.
    fn turn(&mut self) -> Result<(), StoreError> {
        let today = day_of(self.clock.utc_us());
        let zones = self.live.zones().days;
        // While the disk fails no more are taken, so that what waits stays bounded.
        if self.waiting.is_empty() {
            for known in &mut self.known {
                for count in known.zone.changes() {
                    known.records += usize::from(count.is_first);
                    let record = (name(&known.prefix, &count.key), Some(body(&count)));
                    self.waiting.push(record);
                }
            }
        }
        self.flush()?;
        self.known.retain(|known| zones.iter().any(|zone| Arc::ptr_eq(zone, &known.zone)));
        for zone in zones {
            if !self.known.iter().any(|known| Arc::ptr_eq(&zone, &known.zone)) {
                self.open(zone, today)?;
            }
        }
        let is_new_day = std::mem::replace(&mut self.day, today) != today;
        for at in 0..self.known.len() {
            let known = &self.known[at];
            if is_new_day || known.records > 2 * known.zone.key_count() + SPARE_RECORDS {
                self.sweep(at, today)?;
            }
        }
        self.turns.add(1);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if !self.waiting.is_empty() {
            self.store.change_access(&self.waiting)?;
            self.waiting.clear();
        }
        Ok(())
    }

    /// Begins to keep the counts of `zone`, which goes on from what is kept.
    fn open(&mut self, zone: Arc<DayZone>, today: u32) -> Result<(), StoreError> {
        let prefix = prefix(&zone);
        let records = self.store.access_records(&prefix)?;
        for (name, body) in &records {
            if let Some(kept) = read(name, body).filter(|kept| kept.count.day == today) {
                zone.restore(&kept.count);
            }
        }
        self.known.push(Known { zone, prefix, records: records.len() });
        self.sweep(self.known.len() - 1, today)
    }

    /// Removes the records of days that are over and of keys that the zone has forgotten.
    fn sweep(&mut self, at: usize, today: u32) -> Result<(), StoreError> {
        let known = &mut self.known[at];
        let records = self.store.access_records(&known.prefix)?;
        let is_old = |(name, body): &&(String, Vec<u8>)| {
            read(name, body).is_none_or(|kept| known.zone.used(&kept.count.key, today) == 0)
        };
        let old = records.iter().filter(is_old).map(|(name, _)| (name.clone(), None));
        let old: Vec<Change> = old.collect();
        if !old.is_empty() {
            self.store.change_access(&old)?;
        }
        known.records = records.len() - old.len();
        Ok(())
    }
}

/// The thread that keeps counts.
pub struct Quotas {
    stop: Mutex<Option<SyncSender<()>>>,
    thread: Mutex<Option<Thread<Result<(), StoreError>>>>,
}

/// Why counts could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    /// The thread.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Quotas {
    /// Gives the zones of `live` what is kept of today, and starts the thread.
    ///
    /// # Errors
    /// If the store cannot be read, or there is no thread to have.
    pub fn start(live: &Arc<Live>, parts: &Parts) -> Result<Self, QuotaError> {
        let (live, store, clock) = (live.clone(), parts.store.clone(), parts.clock.clone());
        let turns = parts.quota_turns.clone();
        let day = day_of(clock.utc_us());
        let (known, waiting) = (Vec::new(), Vec::new());
        let mut book = Book { live, store, clock, known, day, waiting, turns };
        book.turn()?;
        let (stop, stopped) = sync_channel::<()>(1);
        let spec = ThreadSpec {
            name: "quotas".to_owned(),
            cores: Vec::new(),
            memory_node: None,
            priority: Priority::Batch,
        };
        let thread = truststram_machine::spawn(spec, move |_placement| {
            let mut has_failed = false;
            while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                let turn = book.turn();
                if let Err(error) = &turn
                    && !has_failed
                {
                    tracing::error!(%error, "what keys have used today is not kept");
                }
                has_failed = turn.is_err();
            }
            // What waited, and then what came meanwhile.
            book.turn()?;
            book.turn()
        })?;
        Ok(Self { stop: Mutex::new(Some(stop)), thread: Mutex::new(Some(thread)) })
    }

    /// Writes what is left and joins the thread. A second call does nothing.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn close(&self) -> Result<(), QuotaError> {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(thread.map_or(Ok(Ok(())), Thread::join)??)
    }
}

#[cfg(test)]
#[path = "quotas/tests.rs"]
mod tests;
