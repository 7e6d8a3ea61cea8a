//! Owns the keys of the cache.
//!
//! Refuses to judge values; `plan` does. Bound: one flat section.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The cache of answers, RFC 9111.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Memory for answers in MiB; 0 keeps none.
    pub memory_mib: usize,
    /// Files for answers in MiB, beside memory: what memory has no room for, and what is found
    /// again after a restart; 0 keeps none.
    pub disk_mib: u64,
    /// Where the files are; empty for `cache` below `server.data_dir`.
    pub disk_dir: String,
    /// Largest body that is kept, in KiB.
    pub object_kib_max: usize,
    /// Seconds that answers of a status are fresh where they do not say it themselves, such as
    /// `[{ status = 200, seconds = 300 }]`; an entry without a status is for all that have none. A
    /// route may have its own.
    #[schema(value_type = Vec<Object>)]
    pub lifetimes: Vec<CacheLifetime>,
    /// Seconds in which a stale answer is given while it is validated in the background, where it
    /// does not say so itself.
    pub stale_while_revalidate_s: u64,
    /// Seconds in which a stale answer is given in place of an error 500, 502, 503 or 504.
    pub stale_if_error_s: u64,
    /// Whether of several requests for one answer only one goes on, and the others wait for it.
    pub lock: bool,
    /// Seconds that a request waits for another one.
    pub lock_timeout_s: u64,
}

/// How long answers of one status are fresh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheLifetime {
    /// The status; none for all that have no entry of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Seconds.
    pub seconds: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            memory_mib: 0,
            disk_mib: 0,
            disk_dir: String::new(),
            object_kib_max: 1_024,
            lifetimes: Vec::new(),
            stale_while_revalidate_s: 0,
            stale_if_error_s: 0,
            lock: true,
            lock_timeout_s: 5,
        }
    }
}
