//! Floor 2: what is kept on disk, and how it is found again.
//!
//! Owns the redb files below the store's directory: `meta.redb` (registered models),
//! `predictions/pred-YYYYMM.redb` (one self-contained file per UTC month) and `decisions.redb`
//! (recorded decisions of policies). One writer thread
//! commits groups; readers run on the caller's thread and see committed rows only.
//! Refuses to know HTTP, model files and who asks. No other crate names redb.
//! Bound: queue, page, cache and segment sizes in [`StoreOptions`] and the constants beside them;
//! a full queue refuses, it never blocks.

mod database_file;
mod decisions;
mod envelope;
pub mod error;
mod month;
mod month_file;
mod month_files;
pub mod options;
pub mod query;
mod queue;
mod registry;
pub mod ring_storage;
mod segment;
pub mod stats;
pub mod store;
mod stream;
mod writer;

pub use error::{CommitFailure, Damage, Refused, StoreError};
pub use options::StoreOptions;
pub use query::{Cursor, PredictionPage, PredictionQuery, StoredPrediction};
pub use queue::OnCommit;
pub use stats::StoreStats;
pub use store::Store;
