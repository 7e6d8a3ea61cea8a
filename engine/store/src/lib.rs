//! Floor 2: what is kept on disk, and how it is found again.
//!
//! Owns the files below the store's directory: the `log` that makes records durable,
//! `predictions/pred-YYYYMM.redb` (one self-contained file per UTC month), `meta.redb` (registered
//! models) and `decisions.redb` (recorded decisions of policies). A writer thread commits groups
//! to the log; an applier thread moves them into the month files in bulk; readers run on the
//! caller's thread and see everything that is committed.
//! Refuses to know HTTP, model files and who asks. No other crate names redb.
//! Bound: queue, log, page, cache and segment sizes in [`StoreOptions`] and the constants beside
//! them; a full queue refuses, it never blocks.

mod applier;
mod core;
mod database_file;
mod database_storage;
mod decisions;
pub mod disk;
mod envelope;
pub mod error;
pub mod explain;
mod fields;
mod log;
mod memory;
mod month;
mod month_file;
mod month_files;
pub mod options;
pub mod performance;
pub mod query;
mod queue;
mod registry;
pub mod rollup;
mod row;
mod segment;
mod segment_cache;
pub mod stats;
pub mod store;
mod stream;
pub mod verify;
mod writer;

pub use disk::{Disk, DiskFile, HostDisk};
pub use error::{CommitFailure, Damage, Refused, StoreError};
pub use explain::Explanation;
pub use options::{Applies, StoreOptions, Tier};
pub use performance::{ModelPerformance, ModelStatistics};
pub use query::{Cursor, PredictionPage, PredictionQuery, StoredPrediction};
pub use queue::OnCommit;
pub use rollup::Rollup;
pub use stats::StoreStats;
pub use store::Store;
pub use verify::{Finding, Problem, VerifyProgress, VerifyReport, verify_directory};
