//! Owns the API keys in memory: found by id without a lock, exchanged when one changes.
//!
//! Refuses to know where they are kept, and to keep a secret: it has hashes. Bound: the keys that
//! are given; a change copies a pointer for each of them.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use truststram_base::{Credential, Identity, Role, Scopes, UserId};

use super::api_key::Parts;

/// A secret of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySecret {
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// When it stops being good, microseconds UTC; `None` while it is the present one.
    pub until_us: Option<i64>,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// By what it is found.
    pub id: String,
    /// Whom it stands for.
    pub user: UserId,
    /// What it may do on the public side.
    pub scopes: Scopes,
    /// What on the operators' side.
    pub role: Option<Role>,
    /// When it stops being good, microseconds UTC.
    pub expires_us: Option<i64>,
    /// The present secret, and the one before while both are good.
    pub secrets: Vec<KeySecret>,
}

/// Most secrets of one key that are good at a time.
pub(crate) const SECRETS_MAX: usize = 2;
/// The time of a key that nobody used.
const NEVER: i64 = i64::MIN;

#[derive(Debug)]
struct Entry {
    record: KeyRecord,
    identity: Arc<Identity>,
    used_us: Arc<AtomicI64>,
}

type Table = HashMap<String, Arc<Entry>>;

/// The keys.
#[derive(Debug, Default)]
pub struct Keys {
    table: ArcSwap<Table>,
}

impl Keys {
    /// Puts a key in the place of the one with its id.
    pub fn put(&self, record: KeyRecord) {
        self.table.rcu(|before| {
            let mut table = Table::clone(before);
            let used_us = before.get(&record.id).map(|known| known.used_us.clone());
            let entry = Entry {
                identity: Arc::new(identity(&record)),
                used_us: used_us.unwrap_or_else(|| Arc::new(AtomicI64::new(NEVER))),
                record: record.clone(),
            };
            table.insert(record.id.clone(), Arc::new(entry));
            table
        });
    }

    /// Puts keys in the place of all that there are.
    pub fn replace(&self, records: Vec<KeyRecord>) {
        let entry = |record: KeyRecord| {
            let identity = Arc::new(identity(&record));
            let used_us = Arc::new(AtomicI64::new(NEVER));
            (record.id.clone(), Arc::new(Entry { record, identity, used_us }))
        };
        self.table.store(Arc::new(records.into_iter().map(entry).collect()));
    }

    /// Forgets a key; the next request with it is refused.
    pub fn remove(&self, id: &str) {
        self.table.rcu(|before| {
            let mut table = Table::clone(before);
            table.remove(id);
            table
        });
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.table.load().len()
    }

    /// When a key was used last since the start, microseconds UTC.
    pub fn last_used_us(&self, id: &str) -> Option<i64> {
        let table = self.table.load();
        let used_us = table.get(id)?.used_us.load(Ordering::Relaxed);
        (used_us != NEVER).then_some(used_us)
    }

    /// Whom the key of this id stands for, if it may be used still.
    pub(crate) fn live(&self, id: &str, now_us: i64) -> Option<Arc<Identity>> {
        let table = self.table.load();
        table.get(id).filter(|entry| entry.is_in_time(now_us)).map(|entry| entry.used(now_us))
    }

    /// Whom a key stands for, if it is good. An unknown id takes the way of a wrong secret.
    pub(crate) fn check(&self, key: &Parts<'_>, now_us: i64) -> Option<Arc<Identity>> {
        const NOBODY: KeySecret = KeySecret { sha256: [0; 32], until_us: Some(NEVER) };
        let presented = key.secret_sha256();
        let table = self.table.load();
        let entry = table.get(key.id);
        let mut is_good = false;
        for place in 0..SECRETS_MAX {
            let secret = entry.and_then(|entry| entry.record.secrets.get(place)).unwrap_or(&NOBODY);
            let is_in_time = secret.until_us.is_none_or(|until_us| now_us < until_us);
            is_good |= is_same(&presented, &secret.sha256) & is_in_time;
        }
        entry.filter(|entry| is_good && entry.is_in_time(now_us)).map(|entry| entry.used(now_us))
    }
}

impl Entry {
    fn is_in_time(&self, now_us: i64) -> bool {
        self.record.expires_us.is_none_or(|expires_us| now_us < expires_us)
    }

    fn used(&self, now_us: i64) -> Arc<Identity> {
        self.used_us.store(now_us, Ordering::Relaxed);
        self.identity.clone()
    }
}

fn identity(record: &KeyRecord) -> Identity {
    Identity {
        user: record.user.clone(),
        key: Some(record.id.as_str().into()),
        scopes: record.scopes,
        role: record.role,
        by: Credential::Key,
    }
}

/// Compares all bytes, whatever the first ones are.
fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let differing = one.iter().zip(other).fold(0, |bits, (a, b)| black_box(bits | (a ^ b)));
    black_box(differing) == 0
}
