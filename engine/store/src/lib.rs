//! Floor 2: what is kept on disk, and how it is found again.
//!
//! Owns the files below the store's directory: the `log` that makes records durable,
//! `predictions/pred-YYYYMM.redb` (one self-contained file per UTC month), `meta.redb` (registered
//! models), `datasets.redb` (rows to train on) and `decisions.redb` (recorded decisions of
//! policies). A writer thread commits groups to the log; an applier thread moves them into the
//! month files in bulk; readers run on the caller's thread and see everything that is committed.
//! Refuses to know HTTP, model files and who asks. No other crate names redb.
//! Bound: queue, log, page, cache and segment sizes in [`StoreOptions`] and the constants beside
//! them; a full queue refuses, it never blocks.

mod applier;
pub mod containment;
mod core;
mod database_file;
mod database_storage;
pub mod datasets;
mod decisions;
pub mod disagreement;
pub mod disk;
mod envelope;
pub mod error;
pub mod explain;
mod fields;
mod log;
pub mod maintain;
mod memory;
mod month;
mod month_file;
mod month_files;
pub mod options;
pub mod performance;
mod performance_cache;
pub mod query;
mod queue;
pub mod registry;
pub mod ring_storage;
pub mod rollup;
mod row;
mod segment;
mod segment_cache;
pub mod stats;
mod stop;
pub mod store;
mod stream;
pub mod verify;
mod writer;

pub use containment::{JsonPattern, JsonProblem};
pub use datasets::{DatasetInfo, DatasetName, DatasetScan, RowProblem, TrainingRow};
pub use disagreement::Disagreement;
pub use disk::{Disk, DiskFile, HostDisk};
pub use error::{BackupProblem, CommitFailure, Damage, Refused, StoreError};
pub use explain::Explanation;
pub use maintain::{
    BackupFormat, BackupProgress, BackupReport, CompactProgress, CompactedMonth, DroppedMonth,
    Upkeep, restore,
};
pub use options::{Applies, IoMode, MaintenanceOptions, StoreOptions, Tier};
pub use performance::{ModelPerformance, ModelStatistics};
pub use query::{Cursor, PredictionPage, PredictionQuery, StoredPrediction};
pub use queue::OnCommit;
pub use registry::check::EntryProblem;
pub use registry::list::{ListedModel, ModelList, ModelPlan, ModelPosition, ModelQuery, PageReads};
pub use rollup::Rollup;
#[doc(hidden)]
pub use segment::CompressionTrial;
pub use stats::StoreStats;
pub use store::{Store, StoredMonth};
pub use verify::{Finding, Problem, VerifyProgress, VerifyReport, verify_directory};
