//! Owns a row in memory and the question which rows are wanted.
//!
//! Refuses to know where rows are. Bound: one record.

use std::sync::Arc;

use truststram_base::{ModelId, PredictionRecord, UserId};

/// A record with its place in the order of all.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) sequence: u64,
    pub(crate) record: PredictionRecord,
}

/// Which rows are wanted: all conditions hold.
#[derive(Clone, Debug)]
pub(crate) struct RowFilter {
    pub(crate) model: Option<ModelId>,
    pub(crate) user: Option<UserId>,
    /// Inclusive.
    pub(crate) since_us: i64,
    /// Inclusive.
    pub(crate) until_us: i64,
    /// Exclusive.
    pub(crate) before: u64,
}

impl RowFilter {
    /// Whether the row is wanted.
    pub(crate) fn wants(&self, row: &Arc<Row>) -> bool {
        let record = &row.record;
        row.sequence < self.before
            && self.has_time(record.timestamp_us)
            && self.model.as_ref().is_none_or(|model| *model == record.model)
            && (self.user.is_none() || self.user == record.user)
    }

    /// Whether the time is wanted.
    pub(crate) fn has_time(&self, timestamp_us: i64) -> bool {
        (self.since_us..=self.until_us).contains(&timestamp_us)
    }
}
