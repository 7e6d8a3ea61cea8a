//! Owns what an operator may do with API keys.
//!
//! Refuses to know how they are kept. Bound: one change at a time.

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use super::StoreFailure;

/// Seconds for which the secret before is good still, where nobody says otherwise: a day.
pub const OVERLAP_S: u64 = 86_400;

/// A key to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// Whom it stands for; without it `name`.
    #[serde(default)]
    pub user: Option<String>,
    /// What it may do on the public side, by name.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What it may do on the operators' side.
    #[serde(default)]
    pub role: Option<String>,
    /// Seconds after which it is good no more.
    #[serde(default)]
    pub expires_in_s: Option<u64>,
}

/// What is done to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// One is made; the answer holds its text, which is not kept.
    Create(NewKey),
    /// It gets another secret, which the answer holds; the one before is good for so many seconds.
    Rotate(String, u64),
    /// It is good no more.
    Revoke(String),
}

/// The API keys as their operator sees them.
pub trait Keys: Send + Sync {
    /// Each key without its secret.
    fn list(&self) -> BoxFuture<'static, Result<Value, StoreFailure>>;
    /// Changes one; it is on disk, and holds for the next request, once the future ends.
    fn change(&self, change: KeyChange) -> BoxFuture<'static, Result<Value, StoreFailure>>;
}
