//! Owns the settings of a store and their defaults.
//!
//! Refuses to know the configuration file; the root package fills this in.
//! Bound: plain numbers.

use std::path::PathBuf;

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
    /// Most bytes of one of the two log files. When one is full its rows are moved into the month
    /// files, so that this is also the size of a run.
    pub log_bytes: u64,
    /// Most bytes of one entry of the log, at most 4 MiB; a larger group is several entries, each
    /// synced before the next.
    pub entry_bytes_max: usize,
    /// Most rows of one log file; they are in memory too.
    pub log_rows_max: usize,
    /// Memory for segments that were read lately, in bytes.
    pub segment_cache_bytes: usize,
    /// Whether closing writes the seal that lets `verify` compare every byte of every file.
    pub is_sealing: bool,
    /// How month files are reached.
    pub io: IoMode,
    /// Who moves rows from the log into the month files.
    pub applies: Applies,
    /// Where months of a certain age are kept; the youngest first.
    pub tiers: Vec<Tier>,
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
            log_bytes: 16 << 20,
            entry_bytes_max: 4 << 20,
            log_rows_max: 65_536,
            segment_cache_bytes: 32 << 20,
            is_sealing: true,
            io: IoMode::File,
            applies: Applies::InBackground,
            tiers: Vec::new(),
            cache_bytes: 64 << 20,
        }
    }
}

/// Who moves rows from the log into the month files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// A thread of the store, as soon as a turn of the log is over.
    InBackground,
    /// Whoever calls [`crate::Store::apply_now`], and the writer when it needs the log file; so
    /// that a simulation has one order of operations.
    OnRequest,
}

/// How month files are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoMode {
    /// Through io_uring where that is measured to be faster.
    Auto,
    /// Through the page cache, one system call at a time.
    File,
    /// Through io_uring, past the page cache where the file system allows it.
    Uring,
}

/// A directory for months of a certain age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Days that have passed since the end of a month before it is moved here.
    pub after_days: u32,
    /// Where its file is kept; often on another disk.
    pub directory: PathBuf,
}

/// What the store does to itself from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaintenanceOptions {
    /// Days that predictions are kept after the end of their month; 0: for ever.
    pub keep_days: u32,
    /// Hours from one reading of everything to the next; 0: never.
    pub scrub_every_h: u32,
    /// Most that this reads in a second, in MiB.
    pub scrub_mib_per_s: u32,
}
