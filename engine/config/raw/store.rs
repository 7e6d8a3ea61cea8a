//! Owns the keys of the store.
//!
//! Refuses to judge values; `plan` does. Bound: one flat section and a list of tiers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What happens to a prediction whose record finds the store's queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// It is answered 503.
    Reject,
    /// It is answered, and its record is dropped and counted.
    Drop,
}

/// How month files are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreIo {
    /// As a short measurement at start says.
    Auto,
    /// Through the page cache.
    File,
    /// Through io_uring.
    Uring,
}

/// A directory for months of a certain age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreTier {
    /// Days after the end of a month.
    pub after_days: u32,
    /// Where its file is moved.
    pub directory: String,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Records that may wait to be written.
    pub queue_rows_max: usize,
    /// Most records of one commit.
    pub group_rows_max: usize,
    /// Microseconds that records gather before they are committed, unless somebody waits for
    /// them: the most that a power loss can take of what was answered without `durable=true`,
    /// besides the commit under way.
    pub group_wait_us: u64,
    /// Memory for pages of the newest month's file, in MiB.
    pub cache_mib: usize,
    /// Memory for unpacked records of all months, in MiB.
    pub segment_cache_mib: usize,
    /// Most MiB of each of the two log files. When one is full, its records are moved into the
    /// month files at once.
    pub log_mib: u64,
    /// Most records of each log file; they are in memory too.
    pub log_rows_max: usize,
    /// How month files are reached: "file" through the page cache, "uring" through io_uring and
    /// past the page cache, "auto" as a short measurement at start says.
    #[schema(value_type = String)]
    pub io: StoreIo,
    /// Days that records are kept after the end of their month; 0 keeps them for ever.
    pub keep_days: u32,
    /// Directories for older months, often on other disks:
    /// `[{ after_days = 60, directory = "/mnt/cold" }]`. A month is moved so many days after its
    /// end.
    #[schema(value_type = Vec<Object>)]
    pub tiers: Vec<StoreTier>,
    /// Hours between two readings of all records in the background, which find damage before
    /// somebody needs them; 0 never reads.
    pub scrub_every_h: u32,
    /// Most MiB that such a reading takes in a second.
    pub scrub_mib_per_s: u32,
    /// A query that takes longer is logged with its plan, in milliseconds.
    pub slow_query_ms: u64,
    /// "reject" answers 503 when the queue is full; "drop" answers and drops the record.
    #[schema(value_type = String)]
    pub when_full: WhenFull,
    /// Queries that may wait to be read; more are answered 503.
    pub read_queue_max: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            queue_rows_max: 65_536,
            group_rows_max: 4_096,
            group_wait_us: 20_000,
            cache_mib: 64,
            segment_cache_mib: 32,
            log_mib: 16,
            log_rows_max: 65_536,
            io: StoreIo::File,
            keep_days: 0,
            tiers: Vec::new(),
            scrub_every_h: 168,
            scrub_mib_per_s: 20,
            slow_query_ms: 1_000,
            when_full: WhenFull::Reject,
            read_queue_max: 256,
        }
    }
}
