//! What is done to stored data besides reading and writing it: compaction, moving to a tier,
//! dropping months, backup and restore, and the checks that run in the background.
//!
//! Owns the reports of these. Refuses to know when they run. Bound: one month at a time.

mod archive;
mod backup;
mod copy;
mod month;
mod restore;
mod scrub;

use std::path::PathBuf;

pub use crate::error::BackupProblem;
pub use archive::BackupFormat;
pub use restore::restore;
pub use scrub::Upkeep;

#[cfg(test)]
mod tests;

/// How far a compaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactProgress {
    /// The month, as YYYYMM.
    pub month: String,
    /// Index entries and segments copied.
    pub segments: u64,
}

/// A month that was compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactedMonth {
    /// The month, as YYYYMM.
    pub month: String,
    /// Size of its file before, in bytes.
    pub bytes_before: u64,
    /// Size of its file now, in bytes.
    pub bytes_after: u64,
}

/// A month that was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedMonth {
    /// The month, as YYYYMM.
    pub month: String,
    /// Size that its file had, in bytes.
    pub bytes: u64,
    /// Rows that it had.
    pub rows: u64,
}

/// How far a backup or its restoring is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupProgress {
    /// Bytes done.
    pub bytes: u64,
    /// Bytes in all, as far as they can be known before.
    pub bytes_total: u64,
}

/// A backup that was made or restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Predictions in it.
    pub rows: u64,
    /// Where it is.
    pub path: PathBuf,
}
