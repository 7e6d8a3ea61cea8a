//! Owns what a data set adds up to, kept with its rows.
//!
//! Refuses to know blocks. Bound: [`LABEL_COUNT_MAX`] labels are counted each; the first ones that
//! came keep their places, so that each count is exact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DatasetName, TrainingRow, block};

/// Most labels that are counted one by one.
pub const LABEL_COUNT_MAX: usize = 1_024;

/// The sums of a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(super) rows: u64,
    /// 0 where there are rows means that those have texts.
    pub(super) feature_count: u32,
    pub(super) blocks: u64,
    pub(super) raw_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) oldest_us: Option<i64>,
    pub(super) newest_us: Option<i64>,
    pub(super) labels: BTreeMap<String, u64>,
    pub(super) other_labels: u64,
    pub(super) unlabelled: u64,
}

/// A data set and what it adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetInfo {
    /// Its name.
    pub name: DatasetName,
    /// How many rows it has.
    pub rows: u64,
    /// How many features every row has; 0 while it has no row, and where rows have texts.
    pub feature_count: u32,
    /// Whether its rows have texts instead of features.
    pub is_of_texts: bool,
    /// In how many blocks the rows lie.
    pub blocks: u64,
    /// What the rows are before compression, in bytes.
    pub raw_bytes: u64,
    /// What the blocks are as stored, in bytes.
    pub stored_bytes: u64,
    /// When the oldest row was made, microseconds UTC.
    pub oldest_us: Option<i64>,
    /// When the newest row was made, microseconds UTC.
    pub newest_us: Option<i64>,
    /// How many rows have each label, of the first [`LABEL_COUNT_MAX`] labels that came.
    pub labels: BTreeMap<String, u64>,
    /// How many rows have a label beyond those.
    pub other_labels: u64,
    /// How many rows have no label.
    pub unlabelled: u64,
}

impl Totals {
    /// Counts a row in.
    pub(super) fn add(&mut self, row: &TrainingRow) {
        self.rows += 1;
        self.feature_count = u32::try_from(row.features.len()).unwrap_or(u32::MAX);
        self.raw_bytes += u64::try_from(block::row_bytes(row)).unwrap_or(u64::MAX);
        let created_us = row.created_us;
        self.oldest_us = Some(self.oldest_us.map_or(created_us, |oldest| oldest.min(created_us)));
        self.newest_us = Some(self.newest_us.map_or(created_us, |newest| newest.max(created_us)));
        let Some(label) = &row.label else {
            self.unlabelled += 1;
            return;
        };
        if let Some(count) = self.labels.get_mut(label) {
            *count += 1;
        } else if self.labels.len() < LABEL_COUNT_MAX {
            self.labels.insert(label.clone(), 1);
        } else {
            self.other_labels += 1;
        }
    }

    /// Counts a block in that was written.
    pub(super) fn add_block(&mut self, frame: &[u8]) {
        self.blocks += 1;
        self.stored_bytes += u64::try_from(frame.len()).unwrap_or(u64::MAX);
    }

    /// Counts a block out that is about to be written again.
    pub(super) fn take_block(&mut self, frame: &[u8]) {
        self.blocks = self.blocks.saturating_sub(1);
        let bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        self.stored_bytes = self.stored_bytes.saturating_sub(bytes);
    }

    pub(super) fn info(self, name: DatasetName) -> DatasetInfo {
        DatasetInfo {
            name,
            rows: self.rows,
            feature_count: self.feature_count,
            is_of_texts: self.rows > 0 && self.feature_count == 0,
            blocks: self.blocks,
            raw_bytes: self.raw_bytes,
            stored_bytes: self.stored_bytes,
            oldest_us: self.oldest_us,
            newest_us: self.newest_us,
            labels: self.labels,
            other_labels: self.other_labels,
            unlabelled: self.unlabelled,
        }
    }
}
