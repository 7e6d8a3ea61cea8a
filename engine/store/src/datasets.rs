//! Owns `datasets.redb`: rows to train on, in data sets by name.
//!
//! ```text
//! datasets   name               -> envelope(postcard Totals)
//! extents    (name, first id)   -> envelope(rows u32, oldest i64, newest i64)
//! blocks     (name, first id)   -> envelope(block, see block.rs)
//! ```
//!
//! Rows of a data set have consecutive ids from 0 and lie in blocks, so that a row costs no tree
//! entry of its own. A block that is not full takes the next rows in. An extent says when its
//! block's rows were made, so that a block that is too old is not read (the guide's
//! `idx_training_data_created_at`). Totals change in the same transaction as the rows.
//! All rows of a data set have features, or all have texts.
//! Refuses to know what rows mean. Bound: `RowProblem` per row, `BLOCK_BYTES` of
//! rows per block or one row, [`LABEL_COUNT_MAX`] counted labels.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use truststram_base::{IdError, ModelId};

use crate::database_file::DatabaseFile;
use crate::disagreement::Disagreement;
use crate::disk::Disk;
use crate::envelope::{self, HEADER_BYTES};
use crate::error::{Damage, StoreError};
use crate::options::OLD_FILE_CACHE_BYTES;
use crate::stop::{self, Stop};

pub use self::row::{RowProblem, TrainingRow};
pub use self::scan::DatasetScan;
use self::scan::Wanted;
pub(crate) use self::totals::Totals;
pub use self::totals::{DatasetInfo, LABEL_COUNT_MAX};

mod append;
mod block;
mod row;
mod scan;
mod totals;
mod verify;

type BlockKey = (&'static str, u64);

const DATASETS: TableDefinition<&str, &[u8]> = TableDefinition::new("datasets");
const EXTENTS: TableDefinition<BlockKey, &[u8]> = TableDefinition::new("extents");
const BLOCKS: TableDefinition<BlockKey, &[u8]> = TableDefinition::new("blocks");

/// The name of a data set; the rules are those of a model's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatasetName(ModelId);

impl DatasetName {
    /// Checks `text` as [`ModelId::new`] does.
    ///
    /// # Errors
    /// If the text is no name.
    pub fn new(text: &str) -> Result<Self, IdError> {
        ModelId::new(text).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The data sets.
pub(crate) struct Datasets {
    pub(crate) file: Arc<DatabaseFile>,
}

impl Datasets {
    /// Opens or creates the file.
    pub(crate) fn open(path: PathBuf, disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        let file = DatabaseFile::new(path, OLD_FILE_CACHE_BYTES, disk, create_tables);
        file.with(|_: &Database| Ok(()))?;
        Ok(Self { file: Arc::new(file) })
    }

    /// Adds rows at the end of a data set, which is made if need be, and syncs. All of them or
    /// none. Gives back the id of the first.
    pub(crate) fn append(
        &self,
        name: &DatasetName,
        rows: &[TrainingRow],
    ) -> Result<u64, StoreError> {
        row::check(name, rows)?;
        stop::write(&self.file, |transaction| append::run(&self.file, transaction, name, rows))
    }

    /// The rows from an id on, as of now.
    pub(crate) fn scan(
        &self,
        name: &DatasetName,
        from_id: u64,
        created_since_us: Option<i64>,
    ) -> Result<DatasetScan, StoreError> {
        let file = Arc::clone(&self.file);
        stop::read(&self.file, |_, transaction| {
            let totals = totals(&file, &transaction.open_table(DATASETS)?, name.as_str())?
                .ok_or_else(|| StoreError::DatasetUnknown { name: name.clone() })?;
            let blocks = transaction.open_table(BLOCKS)?;
            let extents = transaction.open_table(EXTENTS)?;
            let created_since_us = created_since_us.unwrap_or(i64::MIN);
            let wanted = Wanted { from_id, created_since_us };
            DatasetScan::new(file, name.clone(), &totals, &extents, blocks, wanted)
        })
    }

    /// All data sets, by name.
    pub(crate) fn all(&self) -> Result<Vec<DatasetInfo>, StoreError> {
        stop::read(&self.file, |_, transaction| {
            let table = transaction.open_table(DATASETS)?;
            let mut found = Vec::new();
            for row in table.iter()? {
                let (key, frame) = row?;
                let name = key.value();
                let totals = decode_totals(name, frame.value())
                    .map_err(|damage| self.file.corrupt("datasets", name.to_owned(), damage))?;
                let name = DatasetName::new(name)
                    .map_err(|_| self.file.corrupt("datasets", name.to_owned(), Damage::Value))?;
                found.push(totals.info(name));
            }
            Ok(found)
        })
    }

    /// Removes a data set and syncs. Gives back what it was. A scan that runs goes on over what it
    /// saw.
    pub(crate) fn remove(&self, name: &DatasetName) -> Result<DatasetInfo, StoreError> {
        stop::write(&self.file, |transaction| {
            let mut datasets = transaction.open_table(DATASETS)?;
            let totals = totals(&self.file, &datasets, name.as_str())?
                .ok_or_else(|| StoreError::DatasetUnknown { name: name.clone() })?;
            datasets.remove(name.as_str())?;
            for definition in [EXTENTS, BLOCKS] {
                let mut table = transaction.open_table(definition)?;
                table.retain_in(every_block(name), |_, _| false)?;
            }
            Ok(totals.info(name.clone()))
        })
    }

    /// Everything stored of a data set that does not agree; nothing if all is well.
    pub(crate) fn verify(&self, name: &DatasetName) -> Result<Vec<Disagreement>, StoreError> {
        stop::read(&self.file, |_, transaction| verify::run(transaction, name))
    }
}

fn create_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(DATASETS)?;
    transaction.open_table(EXTENTS)?;
    transaction.open_table(BLOCKS)?;
    Ok(())
}

fn every_block(name: &DatasetName) -> std::ops::RangeInclusive<(&str, u64)> {
    (name.as_str(), 0)..=(name.as_str(), u64::MAX)
}

/// The totals of a data set, if it exists.
fn totals(
    file: &DatabaseFile,
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<Totals>, Stop> {
    let Some(frame) = table.get(name)? else { return Ok(None) };
    let totals = decode_totals(name, frame.value())
        .map_err(|damage| file.corrupt("datasets", name.to_owned(), damage))?;
    Ok(Some(totals))
}

fn decode_totals(name: &str, frame: &[u8]) -> Result<Totals, Damage> {
    let body = envelope::open(envelope::context(&["datasets", name], 0), frame)?;
    postcard::from_bytes(body).map_err(|_| Damage::Value)
}

fn encode_totals(name: &str, totals: &Totals) -> Vec<u8> {
    let mut frame = vec![0; HEADER_BYTES];
    // Writing plain data into a vector cannot fail; a frame without a body would be refused.
    let _ = postcard::to_io(totals, &mut frame);
    envelope::seal(envelope::context(&["datasets", name], 0), &mut frame);
    frame
}

/// Binds an extent or a block to its table and key.
fn block_context(table: &str, name: &str, first_id: u64) -> u64 {
    envelope::context(&[table, name], first_id)
}

/// When the rows of a block were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    rows: u32,
    oldest_us: i64,
    newest_us: i64,
}

const EXTENT_BYTES: usize = HEADER_BYTES + 20;

impl Extent {
    fn of(rows: &[TrainingRow]) -> Self {
        Self {
            // A block has at most `block::BLOCK_ROW_COUNT_MAX` rows.
            rows: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            oldest_us: rows.iter().map(|row| row.created_us).min().unwrap_or(i64::MAX),
            newest_us: rows.iter().map(|row| row.created_us).max().unwrap_or(i64::MIN),
        }
    }

    fn encode(self, name: &str, first_id: u64) -> [u8; EXTENT_BYTES] {
        let mut body = [0; EXTENT_BYTES - HEADER_BYTES];
        body[..4].copy_from_slice(&self.rows.to_le_bytes());
        body[4..12].copy_from_slice(&self.oldest_us.to_le_bytes());
        body[12..].copy_from_slice(&self.newest_us.to_le_bytes());
        envelope::frame(block_context("extents", name, first_id), &body)
    }

    fn decode((name, first_id): (&str, u64), frame: &[u8]) -> Result<Self, Damage> {
        let body = envelope::open(block_context("extents", name, first_id), frame)?;
        let (rows, body) = body.split_first_chunk().ok_or(Damage::Length)?;
        let (oldest_us, body) = body.split_first_chunk().ok_or(Damage::Length)?;
        let newest_us: &[u8; 8] = body.try_into().map_err(|_| Damage::Length)?;
        Ok(Self {
            rows: u32::from_le_bytes(*rows),
            oldest_us: i64::from_le_bytes(*oldest_us),
            newest_us: i64::from_le_bytes(*newest_us),
        })
    }
}

#[cfg(test)]
mod tests;
