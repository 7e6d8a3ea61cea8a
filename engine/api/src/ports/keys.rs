//! Owns what an operator may do with API keys.
//!
//! Refuses to know how they are kept. Bound: one change at a time.

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use truststram_base::{Identity, Scopes};
use utoipa::ToSchema;

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

/// A token that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenAsk {
    /// What it may do on the public side, by name; without it all that the key may.
    pub scopes: Option<Vec<String>>,
    /// What it may do on the operators' side; without it what the key may.
    pub role: Option<String>,
    /// Seconds for which it is good, at most `auth.token_ttl_s`.
    pub ttl_s: Option<u32>,
}

/// A token that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenGiven {
    /// Its text.
    pub text: String,
    /// Seconds for which it is good.
    pub ttl_s: u32,
    /// What it may do on the public side.
    pub scopes: Scopes,
}

/// The API keys as their operator sees them.
pub trait Keys: Send + Sync {
    /// Each key without its secret.
    fn list(&self) -> BoxFuture<'static, Result<Value, StoreFailure>>;
    /// Changes one; it is on disk, and holds for the next request, once the future ends.
    fn change(&self, change: KeyChange) -> BoxFuture<'static, Result<Value, StoreFailure>>;
    /// Has tokens signed with a new key from now on; those that there are stay good.
    fn rotate_signer(&self) -> BoxFuture<'static, Result<Value, StoreFailure>>;
    /// A token for whoever came by an API key.
    fn token(&self, identity: &Identity, ask: &TokenAsk) -> Result<TokenGiven, StoreFailure>;
    /// The public keys of tokens.
    fn jwks(&self) -> Value;
}
