//! Owns the reading of a Parquet file: row group after row group, in batches of rows.
//!
//! Refuses to know particular rows. Bound: a batch of [`BATCH_ROW_COUNT_MAX`] rows, or of about
//! [`BATCH_VALUE_COUNT_MAX`] elements of lists, and two pages of each column.

use std::fs::File;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::SerializedPageReader;

use super::lane::Lane;
use super::pages::Pages;
use super::schema::{Leaf, leaves};
use super::source::Source;
use crate::error::{ExchangeError, Place};
use crate::row::{Column, Row, Values};

const BATCH_ROW_COUNT_MAX: usize = 1024;
const BATCH_VALUE_COUNT_MAX: usize = 1 << 20;
/// Rows whose lists are read before their length is looked at: at the most features, one more
/// [`BATCH_VALUE_COUNT_MAX`].
const STEP_ROW_COUNT: usize = 16;

/// Reads rows.
pub(crate) struct ParquetReader {
    source: Arc<Source>,
    metadata: ParquetMetaData,
    columns: &'static [Column],
    leaves: Vec<Option<Leaf>>,
    lanes: Vec<Option<Lane>>,
    group_next: usize,
    group_rows_left: u64,
    batch_rows_left: usize,
    rows_read: u64,
    rows_total: u64,
}

impl ParquetReader {
    /// Reads the footer and checks the columns.
    pub fn open(
        file: File,
        columns: &'static [Column],
        ignore_unknown: bool,
    ) -> Result<Self, ExchangeError> {
        let source = Source::new(file)?;
        let metadata = source.metadata()?;
        let schema = metadata.file_metadata().schema_descr();
        let leaves = leaves(columns, schema, ignore_unknown)?;
        let mut groups = metadata.row_groups().iter();
        let rows_total = groups
            .try_fold(0_u64, |sum, group| sum.checked_add(u64::try_from(group.num_rows()).ok()?));
        let reason = "its row counts are impossible";
        let rows_total = rows_total.ok_or(ExchangeError::NotParquet { reason })?;
        Ok(Self {
            source: Arc::new(source),
            metadata,
            columns,
            leaves,
            lanes: Vec::new(),
            group_next: 0,
            group_rows_left: 0,
            batch_rows_left: 0,
            rows_read: 0,
            rows_total,
        })
    }

    /// How many rows the file says it has.
    pub fn rows_total(&self) -> u64 {
        self.rows_total
    }

    /// How many rows were read.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// The next row; `None` at the end of the file. After an error about the values of one row,
    /// the next follows.
    pub fn next_row<R: Row>(&mut self) -> Option<Result<R, ExchangeError>> {
        if self.batch_rows_left == 0 {
            match self.next_batch() {
                Ok(0) => return None,
                Ok(row_count) => self.batch_rows_left = row_count,
                Err(error) => return Some(Err(error)),
            }
        }
        self.batch_rows_left -= 1;
        self.rows_read += 1;
        let place = Place::Row { row: self.rows_read, line: None };
        let mut values = Values::new(self.rows_read);
        let mut wrong = None;
        // Every column moves on, also behind one that is wrong.
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            match lane.as_mut().map(Lane::next) {
                Some(Ok(value)) => values.set(index, value),
                Some(Err(problem)) if wrong.is_none() => {
                    let column = self.columns[index].name;
                    wrong = Some(ExchangeError::Cell { place, column, problem });
                }
                Some(Err(_)) | None => {}
            }
        }
        if let Some(error) = wrong {
            return Some(Err(error));
        }
        Some(R::from_values(values).map_err(|error| error.at(place, self.columns)))
    }

    /// Reads a batch and says how many rows it has; none at the end of the file.
    fn next_batch(&mut self) -> Result<usize, ExchangeError> {
        while self.group_rows_left == 0 {
            if self.group_next == self.metadata.num_row_groups() {
                return Ok(0);
            }
            self.open_group()?;
        }
        let wanted = usize::try_from(self.group_rows_left).unwrap_or(usize::MAX);
        let mut row_count = wanted.min(BATCH_ROW_COUNT_MAX);
        // A list decides how many rows make a batch, so it comes first.
        for is_list in [true, false] {
            for (index, lane) in self.lanes.iter_mut().enumerate() {
                let Some(lane) = lane.as_mut().filter(|lane| lane.is_list() == is_list) else {
                    continue;
                };
                lane.clear();
                let read = fill(lane, row_count);
                let column = self.columns[index].name;
                let read = read.map_err(|error| damaged(error, column, self.rows_read))?;
                let is_short = if is_list { read == 0 } else { read != row_count };
                if is_short {
                    let reason = format!("column `{column}` ends before the others");
                    let error = ParquetError::General(reason);
                    return Err(damaged(error, column, self.rows_read));
                }
                row_count = read;
            }
        }
        self.group_rows_left -= row_count as u64;
        Ok(row_count)
    }

    fn open_group(&mut self) -> Result<(), ExchangeError> {
        let group = self.metadata.row_group(self.group_next);
        let rows = u64::try_from(group.num_rows()).unwrap_or_default();
        let mut lanes = Vec::with_capacity(self.leaves.len());
        for (leaf, column) in self.leaves.iter().zip(self.columns) {
            let Some(leaf) = leaf else {
                lanes.push(None);
                continue;
            };
            let lane = self.open_lane(group.columns().get(leaf.index), leaf, column);
            lanes.push(Some(lane.map_err(|error| damaged(error, column.name, self.rows_read))?));
        }
        self.lanes = lanes;
        self.group_next += 1;
        self.group_rows_left = rows;
        Ok(())
    }

    fn open_lane(
        &self,
        chunk: Option<&ColumnChunkMetaData>,
        leaf: &Leaf,
        column: &Column,
    ) -> Result<Lane, ParquetError> {
        let chunk = chunk.filter(|chunk| is_inside(chunk, &self.source));
        let chunk = chunk.ok_or_else(|| {
            ParquetError::General("a column reaches past the end of the file".into())
        })?;
        let compression = chunk.compression();
        let is_known = matches!(
            compression,
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_)
        );
        if !is_known {
            let codec = chunk.compression_codec();
            return Err(ParquetError::NYI(format!("it is compressed with {codec:?}")));
        }
        // The number of rows matters to the library only with an index of pages.
        let pages = SerializedPageReader::new(Arc::clone(&self.source), chunk, 0, None)?;
        let pages = Box::new(Pages::new(pages, leaf));
        let descriptor = self.metadata.file_metadata().schema_descr().column(leaf.index);
        Lane::new(*leaf, column.kind, descriptor, pages)
    }
}

/// Adds up to so many rows to an empty lane; fewer where their lists are long.
fn fill(lane: &mut Lane, row_count: usize) -> Result<usize, ParquetError> {
    if !lane.is_list() {
        return lane.read(row_count);
    }
    let mut read = 0;
    while read < row_count && lane.value_count() < BATCH_VALUE_COUNT_MAX {
        match lane.read(STEP_ROW_COUNT.min(row_count - read))? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Whether a column lies inside the file; the library panics on offsets below zero.
fn is_inside(chunk: &ColumnChunkMetaData, source: &Source) -> bool {
    use parquet::file::reader::Length;
    let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let range = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
    let end = range.and_then(|(start, length)| start.checked_add(length));
    end.is_some_and(|end| end <= source.len())
}

fn damaged(source: ParquetError, column: &'static str, rows_read: u64) -> ExchangeError {
    match source {
        ParquetError::NYI(reason) => ExchangeError::Unreadable { column, reason },
        source => {
            let place = Place::Row { row: rows_read + 1, line: None };
            ExchangeError::Damaged { place, source }
        }
    }
}
