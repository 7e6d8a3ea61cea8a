//! Floor 1: predictions and training rows as files, both ways.
//!
//! Owns three formats (Parquet, CSV, JSON Lines) for three kinds of row, [`PredictionRecord`],
//! [`DatasetRow`] and [`TextRow`]; what a row has to say of itself is the trait [`Row`]. Values
//! survive the way out and back exactly: floats are written in full, NaN and the infinities by name
//! where the format has no numbers for them, and times that RFC 3339 cannot say as plain
//! microseconds.
//! Refuses to know where rows come from and go to, and the names and places of files.
//! Bound: a row of text has [`ROW_BYTES_MAX`], a page of Parquet [`PAGE_BYTES_MAX`]; a reader
//! holds one batch of rows, a Parquet writer one row group.
//!
//! [`PredictionRecord`]: truststram_base::PredictionRecord

mod comma;
mod dataset;
mod error;
mod format;
mod json_lines;
mod parquet_file;
mod prediction;
mod reader;
mod row;
mod text;
pub mod time;
mod writer;

#[cfg(test)]
mod tests;

pub use dataset::{DatasetRow, TextRow, has_texts};
pub use error::{CellProblem, ExchangeError, Place};
pub use format::Format;
pub use parquet_file::PAGE_BYTES_MAX;
pub use reader::{ReadOptions, Reader};
pub use row::{
    COLUMN_COUNT_MAX, CellError, Column, ColumnKind, Row, TEXT_BYTES_MAX, Value, Values,
};
pub use text::{OBJECT_BYTES_MAX, ROW_BYTES_MAX};
pub use writer::Writer;
