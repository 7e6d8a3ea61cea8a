//! Owns the reading of rows in any format, and how far it has come.
//!
//! Refuses to know how a format is read. Bound: one row of text, or one batch of a Parquet file.

use std::fs::File;
use std::marker::PhantomData;

use crate::comma::CommaReader;
use crate::error::ExchangeError;
use crate::format::Format;
use crate::json_lines::LineReader;
use crate::parquet_file::ParquetReader;
use crate::row::Row;

/// How to read a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Pass over columns that the rows do not have, instead of refusing the file.
    pub ignore_unknown_columns: bool,
}

enum Inner {
    Parquet(Box<ParquetReader>),
    Comma(Box<CommaReader>),
    Lines(LineReader),
}

/// Reads rows one by one. After an error about the values of one row, the next row follows; any
/// other error ends the file.
pub struct Reader<R> {
    inner: Inner,
    bytes_total: u64,
    has_failed: bool,
    kind: PhantomData<fn() -> R>,
}

impl<R: Row> Reader<R> {
    /// Opens `file`, and checks its columns where it has a list of them.
    pub fn open(format: Format, file: File, options: ReadOptions) -> Result<Self, ExchangeError> {
        let bytes_total = file.metadata()?.len();
        let ignore = options.ignore_unknown_columns;
        let inner = match format {
            Format::Parquet => {
                Inner::Parquet(Box::new(ParquetReader::open(file, R::COLUMNS, ignore)?))
            }
            Format::Csv => Inner::Comma(Box::new(CommaReader::open(file, R::COLUMNS, ignore)?)),
            Format::JsonLines => Inner::Lines(LineReader::open(file, ignore)),
        };
        Ok(Self { inner, bytes_total, has_failed: false, kind: PhantomData })
    }

    /// How many rows there are, where the format says it ahead.
    pub fn rows_total(&self) -> Option<u64> {
        match &self.inner {
            Inner::Parquet(reader) => Some(reader.rows_total()),
            Inner::Comma(_) | Inner::Lines(_) => None,
        }
    }

    /// The size of the file.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// How far into the file the rows so far reach; of a Parquet file, the share of the rows.
    pub fn bytes_read(&self) -> u64 {
        match &self.inner {
            Inner::Comma(reader) => reader.bytes_read(),
            Inner::Lines(reader) => reader.bytes_read(),
            Inner::Parquet(reader) => {
                let (read, total) = (reader.rows_read(), reader.rows_total().max(1));
                let share = u128::from(self.bytes_total) * u128::from(read) / u128::from(total);
                u64::try_from(share).unwrap_or(self.bytes_total)
            }
        }
    }
}

impl<R: Row> Iterator for Reader<R> {
    type Item = Result<R, ExchangeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let row = match &mut self.inner {
            Inner::Parquet(reader) => reader.next_row(),
            Inner::Comma(reader) => reader.next_row(),
            Inner::Lines(reader) => reader.next_row(),
        };
        self.has_failed = matches!(&row, Some(Err(error)) if !error.is_about_one_row());
        row
    }
}
