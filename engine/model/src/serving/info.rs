//! Owns what an operator is shown of a version.
//!
//! Refuses to change anything. Bound: plain data.

use std::sync::Arc;

use truststram_base::{ModelId, ModelVersion};

use super::loaded::ModelState;
use super::shadow::ShadowSnapshot;
use crate::program::MemoryReport;

/// A version as the operator sees it.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    /// The model.
    pub id: ModelId,
    /// The version.
    pub version: ModelVersion,
    /// What it is up to.
    pub state: ModelState,
    /// Whether it was unloaded to make room for others.
    pub is_evicted: bool,
    /// Why it could not be loaded.
    pub failure: Option<Arc<str>>,
    /// Whether a rollback goes to it.
    pub is_previous: bool,
    /// The share of the questions without a version that it answers, in percent.
    pub canary_percent: Option<u8>,
    /// Whether it is asked what the active version is asked.
    pub is_shadow: bool,
    /// Whether it stays in memory however long nobody asks for it.
    pub is_kept_warm: bool,
    /// Where its constants and packed weights lie.
    pub memory: MemoryReport,
    /// Bytes of its workers' buffers, which count as its memory as well once they are made.
    pub session_bytes: u64,
    /// Requests accepted and not answered yet.
    pub unanswered: usize,
    /// What it did as a shadow.
    pub shadow: ShadowSnapshot,
}
