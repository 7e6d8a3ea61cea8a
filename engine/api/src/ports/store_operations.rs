//! Owns what an operator may have the store do.
//!
//! Refuses to know how long it takes; it never holds up a query. Bound: one action after the other.

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use truststram_base::Kind;

use super::Failure;

/// What the store is to do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StoreAction {
    /// Move all rows from the log into the files of their months.
    Checkpoint,
    /// Check everything that is stored.
    Verify,
    /// The same, of which only the figures are told: what refreshing a materialised view is to
    /// others, as these figures change with the rows.
    Refresh,
    /// Take the space back that files of months do not use.
    Compact,
    /// Copy everything that is stored while it is in use.
    Backup {
        /// Where to: an absolute path on the server's machine at which there is nothing yet.
        path: String,
        /// Whether it is one tar file instead of a directory.
        #[serde(default)]
        tar: bool,
    },
    /// Remove the predictions of a month for good.
    DropMonth {
        /// Which, as `202611`.
        month: String,
    },
}

impl StoreAction {
    /// The names that paths have for them.
    pub const NAMES: &[&str] =
        &["checkpoint", "verify", "refresh", "compact", "backup", "drop-month"];
}

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFailure {
    /// What the failure means to its receiver.
    pub kind: Kind,
    /// What is wrong and what to do.
    pub detail: String,
}

impl From<Failure> for StoreFailure {
    fn from(failure: Failure) -> Self {
        Self { kind: failure.kind(), detail: failure.to_string() }
    }
}

/// The store as its operator sees it.
pub trait StoreOperations: Send + Sync {
    /// Counts, sizes and latencies.
    fn stats(&self) -> BoxFuture<'static, Result<Value, StoreFailure>>;
    /// Has the store do something; ends with what came of it.
    fn run(&self, action: StoreAction) -> BoxFuture<'static, Result<Value, StoreFailure>>;
}
