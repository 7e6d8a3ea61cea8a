//! Owns appending: rows fill the last block up, then new ones, and the totals follow.
//!
//! Refuses to know the bytes of a block. Bound: one block of rows in memory beside the caller's.

use redb::{ReadableTable, Table, WriteTransaction};

use super::block::{self, BLOCK_BYTES};
use super::row::{self, RowProblem};
use super::{
    BLOCKS, BlockKey, DATASETS, DatasetName, EXTENTS, Extent, Totals, TrainingRow, encode_totals,
    every_block, totals,
};
use crate::database_file::DatabaseFile;
use crate::error::StoreError;
use crate::stop::Stop;

/// Adds `rows`, which were checked one by one, and gives back the id of the first.
pub(super) fn run(
    file: &DatabaseFile,
    transaction: &WriteTransaction,
    name: &DatasetName,
    rows: &[TrainingRow],
) -> Result<u64, Stop> {
    let mut datasets = transaction.open_table(DATASETS)?;
    let mut totals = totals(file, &datasets, name.as_str())?.unwrap_or_default();
    let first_id = totals.rows;
    check_inputs(name, &totals, rows)?;
    let mut blocks = Blocks {
        name,
        extents: transaction.open_table(EXTENTS)?,
        blocks: transaction.open_table(BLOCKS)?,
    };
    let mut open = blocks.take_last(file, &mut totals)?;
    let mut open_bytes: usize = open.iter().map(block::row_bytes).sum();
    for row in rows {
        let bytes = block::row_bytes(row);
        if !open.is_empty() && open_bytes + bytes > BLOCK_BYTES {
            blocks.put(&open, &mut totals)?;
            open.clear();
            open_bytes = 0;
        }
        open.push(TrainingRow { id: totals.rows, ..row.clone() });
        open_bytes += bytes;
        totals.add(row);
    }
    if !open.is_empty() {
        blocks.put(&open, &mut totals)?;
    }
    datasets.insert(name.as_str(), &encode_totals(name.as_str(), &totals)[..])?;
    Ok(first_id)
}

/// Every row has as many features as the first of the data set, or a text as it has.
fn check_inputs(
    name: &DatasetName,
    totals: &Totals,
    rows: &[TrainingRow],
) -> Result<(), StoreError> {
    let Some(first) = rows.first() else { return Ok(()) };
    let expected = match totals.rows {
        0 => first.features.len(),
        _ => usize::try_from(totals.feature_count).unwrap_or(usize::MAX),
    };
    // A text stands where there are no features.
    match rows.iter().position(|row| row.features.len() != expected) {
        Some(at) => {
            let problem = match (rows[at].features.len(), expected) {
                (0, _) => RowProblem::NotOfTexts,
                (_, 0) => RowProblem::NotOfFeatures,
                (found, expected) => RowProblem::FeatureCount { found, expected },
            };
            Err(row::refused(name, at, problem))
        }
        None => Ok(()),
    }
}

/// The tables of the blocks of one data set.
struct Blocks<'t> {
    name: &'t DatasetName,
    extents: Table<'t, BlockKey, &'static [u8]>,
    blocks: Table<'t, BlockKey, &'static [u8]>,
}

impl Blocks<'_> {
    /// The rows of the last block, which is counted out; none if there is no block or if it is
    /// full, so that no row could join it.
    fn take_last(
        &self,
        file: &DatabaseFile,
        totals: &mut Totals,
    ) -> Result<Vec<TrainingRow>, Stop> {
        let Some(last) = self.blocks.range(every_block(self.name))?.next_back() else {
            return Ok(Vec::new());
        };
        let (key, frame) = last?;
        let rows = block::decode(key.value(), frame.value())
            .map_err(|damage| file.corrupt("blocks", format!("{:?}", key.value()), damage))?;
        let per_row = rows.first().map_or(0, |row| row.features.len() * 4);
        if rows.iter().map(block::row_bytes).sum::<usize>() + per_row > BLOCK_BYTES {
            return Ok(Vec::new());
        }
        totals.take_block(frame.value());
        Ok(rows)
    }

    fn put(&mut self, rows: &[TrainingRow], totals: &mut Totals) -> Result<(), Stop> {
        let Some(first) = rows.first() else { return Ok(()) };
        let key = (self.name.as_str(), first.id);
        let frame = block::encode(key.0, key.1, rows)
            .map_err(|source| StoreError::DatasetEncoding { name: self.name.clone(), source })?;
        totals.add_block(&frame);
        self.blocks.insert(key, &frame[..])?;
        self.extents.insert(key, &Extent::of(rows).encode(key.0, key.1)[..])?;
        Ok(())
    }
}
