//! Owns the store's counters and the snapshot of them that callers get.
//!
//! Refuses to know names and exposition formats. Bound: a fixed set of atomics.

use std::path::PathBuf;

use truststram_base::{Counter, Histogram, HistogramSnapshot};

const COMMIT_US_BOUNDS: &[u64] = &[
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 5_000_000,
];
const ROWS_BOUNDS: &[u64] =
    &[1, 4, 16, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536];

/// What the writer counts.
#[derive(Debug)]
pub(crate) struct StoreCounters {
    pub(crate) rows_committed: Counter,
    pub(crate) rows_refused: Counter,
    pub(crate) rows_lost: Counter,
    pub(crate) commits: Counter,
    pub(crate) commit_failures: Counter,
    pub(crate) commit_us: Histogram,
    pub(crate) rows_per_commit: Histogram,
    pub(crate) rows_applied: Counter,
    pub(crate) apply_failures: Counter,
    pub(crate) apply_us: Histogram,
    pub(crate) cache_hits: Counter,
    pub(crate) cache_misses: Counter,
    pub(crate) scrubs: Counter,
    pub(crate) scrub_findings: Counter,
}

impl StoreCounters {
    pub(crate) const fn new() -> Self {
        Self {
            rows_committed: Counter::new(),
            rows_refused: Counter::new(),
            rows_lost: Counter::new(),
            commits: Counter::new(),
            commit_failures: Counter::new(),
            commit_us: Histogram::new(COMMIT_US_BOUNDS),
            rows_per_commit: Histogram::new(ROWS_BOUNDS),
            rows_applied: Counter::new(),
            apply_failures: Counter::new(),
            apply_us: Histogram::new(COMMIT_US_BOUNDS),
            cache_hits: Counter::new(),
            cache_misses: Counter::new(),
            scrubs: Counter::new(),
            scrub_findings: Counter::new(),
        }
    }
}

/// The state of a store at one moment. Counts start when the store is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreStats {
    /// Rows submitted and not yet committed.
    pub rows_queued: u64,
    /// Rows committed and synced.
    pub rows_committed: u64,
    /// Rows refused because the queue was full or closed.
    pub rows_refused: u64,
    /// Rows taken, not committed, and reported to nobody. 0 unless the disk fails until the store
    /// is closed.
    pub rows_lost: u64,
    /// Commits: entries written to the log and synced.
    pub commits: u64,
    /// Commits that failed.
    pub commit_failures: u64,
    /// Duration of a commit with its `fsync`, in microseconds.
    pub commit_us: HistogramSnapshot,
    /// Rows per commit.
    pub rows_per_commit: HistogramSnapshot,
    /// Rows in the log and in memory, not yet in a month's file.
    pub rows_in_log: u64,
    /// Rows moved from the log into month files.
    pub rows_applied: u64,
    /// Moves that failed and were, or will be, tried again.
    pub apply_failures: u64,
    /// Duration of the move of one turn of the log, in microseconds.
    pub apply_us: HistogramSnapshot,
    /// Figures of models that were answered from the cache.
    pub cache_hits: u64,
    /// Figures of models that had to be made.
    pub cache_misses: u64,
    /// Readings of everything in the background that were done.
    pub scrubs: u64,
    /// What they found damaged.
    pub scrub_findings: u64,
    /// Months that have a file.
    pub months: u64,
    /// Size of all files, in bytes.
    pub file_bytes: u64,
    /// The store's directory.
    pub path: PathBuf,
}
