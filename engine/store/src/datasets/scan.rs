//! Owns reading a data set from an id on, block by block, as it was when the scan began.
//!
//! The snapshot is redb's: pages that it needs are not used again while the scan lives, so the file
//! grows meanwhile if much is written. Refuses to know what the rows are for.
//! Bound: one block of rows in memory.

use std::sync::Arc;
use std::vec;

use redb::{OwnedRange, ReadOnlyTable};

use super::{BlockKey, DatasetName, Extent, Totals, TrainingRow, block};
use crate::database_file::DatabaseFile;
use crate::error::{Damage, StoreError};
use crate::stop::Stop;

pub(super) type BlockTable = ReadOnlyTable<BlockKey, &'static [u8]>;

/// Which rows are wanted.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) from_id: u64,
    pub(super) created_since_us: i64,
}

/// The rows of a data set, in the order of their ids. It ends after an error.
pub struct DatasetScan {
    file: Arc<DatabaseFile>,
    name: DatasetName,
    wanted: Wanted,
    row_count: u64,
    feature_count: u32,
    blocks: BlockTable,
    extents: OwnedRange<BlockKey, &'static [u8]>,
    open: vec::IntoIter<TrainingRow>,
    /// The id that the next block has to begin with.
    next_id: u64,
    is_over: bool,
}

impl DatasetScan {
    /// A scan over the snapshot that the tables are of.
    pub(super) fn new(
        file: Arc<DatabaseFile>,
        name: DatasetName,
        totals: &Totals,
        extents: &BlockTable,
        blocks: BlockTable,
        wanted: Wanted,
    ) -> Result<Self, Stop> {
        let key = |id: u64| (name.as_str(), id);
        let first = match extents.range_owned(key(0)..=key(wanted.from_id))?.next_back() {
            Some(extent) => extent?.0.value().1,
            None => 0,
        };
        let extents = extents.range_owned(key(first)..=key(u64::MAX))?;
        Ok(Self {
            file,
            name,
            wanted,
            row_count: totals.rows,
            feature_count: totals.feature_count,
            blocks,
            extents,
            open: Vec::new().into_iter(),
            next_id: first,
            is_over: false,
        })
    }

    /// How many rows the data set had when the scan began.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// How many features every row has; 0 if there was no row, and where rows have texts.
    pub fn feature_count(&self) -> u32 {
        self.feature_count
    }

    /// Whether its rows have texts instead of features.
    pub fn is_of_texts(&self) -> bool {
        self.row_count > 0 && self.feature_count == 0
    }

    fn next_row(&mut self) -> Result<Option<TrainingRow>, StoreError> {
        loop {
            let Wanted { from_id, created_since_us } = self.wanted;
            let is_wanted =
                |row: &TrainingRow| row.id >= from_id && row.created_us >= created_since_us;
            if let Some(row) = self.open.find(is_wanted) {
                return Ok(Some(row));
            }
            let Some(entry) = self.extents.next() else {
                // All blocks behind the last one that was read are missing.
                return if self.next_id == self.row_count {
                    Ok(None)
                } else {
                    Err(self.corrupt("extents", self.next_id, Damage::Missing))
                };
            };
            let (key, frame) = entry.map_err(|source| self.file.failed(source.into()))?;
            let first_id = key.value().1;
            let extent = Extent::decode((self.name.as_str(), first_id), frame.value())
                .map_err(|damage| self.corrupt("extents", first_id, damage))?;
            if first_id != self.next_id {
                return Err(self.corrupt("extents", self.next_id, Damage::Missing));
            }
            self.next_id += u64::from(extent.rows);
            if self.next_id > from_id && extent.newest_us >= created_since_us {
                self.open = self.read_block(first_id, extent)?.into_iter();
            }
        }
    }

    fn read_block(&self, first_id: u64, extent: Extent) -> Result<Vec<TrainingRow>, StoreError> {
        let key = (self.name.as_str(), first_id);
        let frame = self.blocks.get(key).map_err(|source| self.file.failed(source.into()))?;
        let frame = frame.ok_or_else(|| self.corrupt("blocks", first_id, Damage::Missing))?;
        let rows = block::decode(key, frame.value())
            .map_err(|damage| self.corrupt("blocks", first_id, damage))?;
        if Extent::of(&rows) == extent {
            Ok(rows)
        } else {
            Err(self.corrupt("extents", first_id, Damage::Value))
        }
    }

    fn corrupt(&self, table: &'static str, id: u64, damage: Damage) -> StoreError {
        self.file.corrupt(table, format!("{:?}", (self.name.as_str(), id)), damage)
    }
}

impl Iterator for DatasetScan {
    type Item = Result<TrainingRow, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let row = self.next_row().transpose();
        self.is_over = !matches!(row, Some(Ok(_)));
        row
    }
}
