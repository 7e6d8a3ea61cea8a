//! Owns the settings of a store and their defaults.
//!
//! Refuses to know the configuration file; the root package fills this in.
//! Bound: plain numbers.

/// Settings of a [`crate::Store`]. Zeroes are treated as the smallest value that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Rows that end the gathering of a group before its time is over. A group holds more than
    /// this only when more rows were queued while the group before it was being committed.
    pub group_rows_max: usize,
    /// How long the writer gathers after it has seen a group's first row, in microseconds. A
    /// durable submission ends the gathering at once.
    pub group_wait_us: u64,
    /// Most rows that are not yet committed: queued, being committed, or kept after a failed
    /// commit. Beyond it submissions are refused.
    pub queue_rows_max: usize,
    /// Most memory of those rows, in bytes. Beyond it submissions are refused.
    pub queue_bytes_max: usize,
    /// Page cache of the newest month's file, in bytes. Every older file gets
    /// [`OLD_FILE_CACHE_BYTES`].
    pub cache_bytes: usize,
}

/// Page cache of `meta.redb` and of each month file that is not the newest, in bytes.
pub const OLD_FILE_CACHE_BYTES: usize = 4 << 20;

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            group_rows_max: 4_096,
            group_wait_us: 5_000,
            queue_rows_max: 65_536,
            queue_bytes_max: 256 << 20,
            cache_bytes: 64 << 20,
        }
    }
}
