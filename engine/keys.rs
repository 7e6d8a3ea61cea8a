//! Owns the API keys of a data directory: made, exchanged, revoked and listed.
//!
//! Refuses to keep a secret, and to judge requests. A change is on disk when it returns. Bound:
//! [`KEYS_MAX`] keys.

pub mod signers;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use truststram_api::ports::{KeyChange, NewKey};
use truststram_base::{IdError, Kind, Role, Scopes, UnknownScope, UserId};
use truststram_exchange::time;
use truststram_proxy::{FreshKey, KeyRecord, KeySecret, fresh};
use truststram_store::{Store, StoreError};

/// Most keys.
const KEYS_MAX: usize = 10_000;
const NAME_BYTES_MAX: usize = 64;
/// Longest time that a key or a secret before is good, seconds: a hundred years.
const SECONDS_MAX: u64 = 100 * 365 * 86_400;
/// How records of keys are called in the store.
const PREFIX: &str = "key/";

/// Why keys are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record makes no sense.
    #[error("the record of the key {id} cannot be read: {source}; restore meta.redb from a backup")]
    Record {
        /// The key.
        id: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A seed of tokens makes no sense.
    #[error("the record {name} is no seed; restore meta.redb from a backup")]
    Seed {
        /// The record.
        name: String,
    },
    /// No key has this id.
    #[error("no key has the id `{id}`; `truststram key list` shows them")]
    Unknown {
        /// The id.
        id: String,
    },
    /// There are too many.
    #[error("there are {KEYS_MAX} keys already; revoke some")]
    TooMany,
    /// The system gives no chance.
    #[error("the system has no random numbers to give")]
    Random,
    /// The name is not acceptable.
    #[error("name must be 1 to {NAME_BYTES_MAX} bytes without control characters")]
    Name,
    /// The user is not acceptable.
    #[error("user {0}")]
    User(#[from] IdError),
    /// A scope is unknown.
    #[error("scopes: {0}")]
    Scope(#[from] UnknownScope),
    /// A role is unknown.
    #[error("role: `{name}` is no role; known: viewer, operator, admin")]
    Role {
        /// The name.
        name: String,
    },
    /// It could do nothing.
    #[error("the key could do nothing: give it a scope, or a role")]
    Nothing,
    /// A time is too long, or none.
    #[error("{0} must be at most {SECONDS_MAX} seconds")]
    Time(&'static str),
}

impl KeyError {
    /// What the error means to its receiver.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Record { .. } | Self::Seed { .. } => Kind::Corrupt,
            Self::Unknown { .. } => Kind::NotFound,
            Self::TooMany => Kind::Conflict,
            Self::Random => Kind::Internal,
            Self::Name
            | Self::User(_)
            | Self::Scope(_)
            | Self::Role { .. }
            | Self::Nothing
            | Self::Time(_) => Kind::Invalid,
        }
    }
}

/// A key as the store has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    name: String,
    user: UserId,
    scopes: Vec<String>,
    role: Option<String>,
    created_us: i64,
    expires_us: Option<i64>,
    /// The present secret first.
    secrets: Vec<StoredSecret>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredSecret {
    sha256: [u8; 32],
    until_us: Option<i64>,
}

/// What a change came to.
pub struct Changed {
    /// The key as it is now; `None` once it is revoked.
    pub record: Option<KeyRecord>,
    /// Its id.
    pub id: String,
    /// What the operator is told: the key, and its text where it has a new one.
    pub shown: Value,
}

/// Every key.
///
/// # Errors
/// If the store cannot be read, or a record is damaged.
pub fn load(store: &Store) -> Result<Vec<KeyRecord>, KeyError> {
    let stored = all(store)?;
    Ok(stored.into_iter().map(|(id, key)| key.record(id)).collect())
}

/// Every key as operators see it; `last_used_us` knows when one was used, `used_today` how often
/// by each limit of days.
///
/// # Errors
/// As [`load`].
pub fn list(
    store: &Store,
    last_used_us: impl Fn(&str) -> Option<i64>,
    used_today: impl Fn(&str, &UserId) -> Value,
) -> Result<Value, KeyError> {
    let shown = all(store)?.into_iter().map(|(id, key)| {
        let mut shown = key.shown(&id);
        shown["last_used_at"] = last_used_us(&id).map(time_of).into();
        shown["used_today"] = used_today(&id, &key.user);
        shown
    });
    Ok(json!({ "keys": shown.collect::<Vec<Value>>() }))
}

/// Changes a key; the change is on disk when this returns.
///
/// # Errors
/// If it is not acceptable, or not kept; then nothing has changed.
pub fn change(store: &Store, change: &KeyChange, now_us: i64) -> Result<Changed, KeyError> {
    match change {
        KeyChange::Create(key) => create(store, key, now_us),
        KeyChange::Rotate(id, overlap_s) => rotate(store, id, *overlap_s, now_us),
        KeyChange::Revoke(id) => revoke(store, id),
    }
}

fn create(store: &Store, key: &NewKey, now_us: i64) -> Result<Changed, KeyError> {
    let is_name = (1..=NAME_BYTES_MAX).contains(&key.name.len());
    if !is_name || key.name.chars().any(char::is_control) {
        return Err(KeyError::Name);
    }
    let user = UserId::new(key.user.as_deref().unwrap_or(&key.name))?;
    let scopes = Scopes::named(key.scopes.iter().map(String::as_str))?;
    if let Some(role) = key.role.as_deref().filter(|role| Role::named(role).is_none()) {
        return Err(KeyError::Role { name: role.to_owned() });
    }
    if scopes.is_empty() && key.role.is_none() {
        return Err(KeyError::Nothing);
    }
    let expires_us = match key.expires_in_s {
        Some(seconds) => Some(later(now_us, seconds).ok_or(KeyError::Time("expires_in_s"))?),
        None => None,
    };
    if all(store)?.len() >= KEYS_MAX {
        return Err(KeyError::TooMany);
    }
    let made = fresh(None).ok_or(KeyError::Random)?;
    let stored = Stored {
        name: key.name.clone(),
        user,
        scopes: scopes.names().map(str::to_owned).collect(),
        role: key.role.clone(),
        created_us: now_us,
        expires_us,
        secrets: vec![StoredSecret { sha256: made.secret_sha256, until_us: None }],
    };
    keep(store, &made, stored)
}

fn rotate(store: &Store, id: &str, overlap_s: u64, now_us: i64) -> Result<Changed, KeyError> {
    let mut stored = find(store, id)?;
    let until_us = later(now_us, overlap_s).ok_or(KeyError::Time("overlap_s"))?;
    let made = fresh(Some(id)).ok_or(KeyError::Random)?;
    // A secret that was on its way out is gone.
    stored.secrets.truncate(1);
    for secret in &mut stored.secrets {
        secret.until_us = Some(until_us);
    }
    stored.secrets.retain(|_| overlap_s > 0);
    stored.secrets.insert(0, StoredSecret { sha256: made.secret_sha256, until_us: None });
    keep(store, &made, stored)
}

fn revoke(store: &Store, id: &str) -> Result<Changed, KeyError> {
    let stored = find(store, id)?;
    store.change_access(&[(format!("{PREFIX}{id}"), None)])?;
    let mut shown = stored.shown(id);
    shown["revoked"] = true.into();
    Ok(Changed { record: None, id: id.to_owned(), shown })
}

/// Puts a key with a new secret into the store.
fn keep(store: &Store, made: &FreshKey, stored: Stored) -> Result<Changed, KeyError> {
    let id = made.id.clone();
    let body = serde_json::to_vec(&stored)
        .map_err(|source| KeyError::Record { id: id.clone(), source })?;
    store.change_access(&[(format!("{PREFIX}{id}"), Some(body))])?;
    let mut shown = stored.shown(&id);
    shown["key"] = made.text.as_str().into();
    Ok(Changed { record: Some(stored.record(id.clone())), id, shown })
}

fn find(store: &Store, id: &str) -> Result<Stored, KeyError> {
    let unknown = || KeyError::Unknown { id: id.to_owned() };
    let found = all(store)?.into_iter().find(|(known, _)| known == id);
    found.map(|(_, stored)| stored).ok_or_else(unknown)
}

fn all(store: &Store) -> Result<Vec<(String, Stored)>, KeyError> {
    let read = |(name, body): (String, Vec<u8>)| {
        let id = name[PREFIX.len()..].to_owned();
        match serde_json::from_slice(&body) {
            Ok(stored) => Ok((id, stored)),
            Err(source) => Err(KeyError::Record { id, source }),
        }
    };
    store.access_records(PREFIX)?.into_iter().map(read).collect()
}

fn later(now_us: i64, seconds: u64) -> Option<i64> {
    let us = i64::try_from(seconds).ok().filter(|_| seconds <= SECONDS_MAX)? * 1_000_000;
    now_us.checked_add(us)
}

fn time_of(utc_us: i64) -> String {
    let mut text = String::new();
    time::write(&mut text, utc_us);
    text
}

impl Stored {
    /// As requests are held against it. What a later version may have called a scope is none here.
    fn record(self, id: String) -> KeyRecord {
        let known = self.scopes.iter().filter_map(|name| Scopes::named([name.as_str()]).ok());
        let names: Vec<&str> = known.flat_map(Scopes::names).collect();
        let secrets = self.secrets.iter();
        KeyRecord {
            id,
            user: self.user,
            scopes: Scopes::named(names).unwrap_or_default(),
            role: self.role.as_deref().and_then(Role::named),
            expires_us: self.expires_us,
            secrets: secrets
                .map(|secret| KeySecret { sha256: secret.sha256, until_us: secret.until_us })
                .collect(),
        }
    }

    fn shown(&self, id: &str) -> Value {
        let before = self.secrets.get(1).and_then(|secret| secret.until_us);
        json!({
            "id": id,
            "name": self.name,
            "user": self.user,
            "scopes": self.scopes,
            "role": self.role,
            "created_at": time_of(self.created_us),
            "expires_at": self.expires_us.map(time_of),
            "previous_secret_until": before.map(time_of),
        })
    }
}

#[cfg(test)]
#[path = "keys/tests.rs"]
mod tests;
