//! Owns the writing of rows in any format, and what must hold of a row before it is written.
//!
//! Refuses to know how a format is written. Bound: what the format's writer buffers; a Parquet
//! writer one row group, the others one buffer.

use std::io::Write;
use std::marker::PhantomData;

use truststram_base::limits::FEATURE_COUNT_MAX;

use crate::comma::CommaWriter;
use crate::error::{CellProblem, ExchangeError, Place};
use crate::format::Format;
use crate::json_lines::LineWriter;
use crate::parquet_file::ParquetWriter;
use crate::row::{CellError, ColumnKind, Row, Value};
use crate::text;

enum Inner<W: Write + Send> {
    Parquet(Box<ParquetWriter<W>>),
    Comma(Box<CommaWriter<W>>),
    Lines(LineWriter<W>),
}

/// Writes rows one by one.
pub struct Writer<R, W: Write + Send> {
    inner: Inner<W>,
    rows: u64,
    kind: PhantomData<fn(&R)>,
}

impl<R: Row, W: Write + Send> Writer<R, W> {
    /// Begins a file. `output` needs no buffer of its own.
    pub fn create(format: Format, output: W) -> Result<Self, ExchangeError> {
        let inner = match format {
            Format::Parquet => Inner::Parquet(Box::new(ParquetWriter::create(output, R::COLUMNS)?)),
            Format::Csv => Inner::Comma(Box::new(CommaWriter::create(output, R::COLUMNS)?)),
            Format::JsonLines => Inner::Lines(LineWriter::create(output)),
        };
        Ok(Self { inner, rows: 0, kind: PhantomData })
    }

    /// Writes one row. A row that could not be read back is refused before any of it is written.
    pub fn write(&mut self, row: &R) -> Result<(), ExchangeError> {
        for (index, column) in R::COLUMNS.iter().enumerate() {
            if let Err(problem) = check(column.kind, column.is_required, &row.value(index)) {
                let place = Place::Row { row: self.rows + 1, line: None };
                return Err(CellError { column: index, problem }.at(place, R::COLUMNS));
            }
        }
        match &mut self.inner {
            Inner::Parquet(writer) => writer.write(row)?,
            Inner::Comma(writer) => writer.write(row)?,
            Inner::Lines(writer) => writer.write(row)?,
        }
        self.rows += 1;
        Ok(())
    }

    /// Writes what is left and says how many rows there are. A file that is not finished cannot be
    /// relied on, and a Parquet file not even be read.
    pub fn finish(self) -> Result<u64, ExchangeError> {
        match self.inner {
            Inner::Parquet(writer) => writer.finish()?,
            Inner::Comma(writer) => writer.finish()?,
            Inner::Lines(writer) => writer.finish()?,
        }
        Ok(self.rows)
    }
}

/// Whether every reader takes `value`. CSV cannot tell an empty text from none.
fn check(kind: ColumnKind, is_required: bool, value: &Value<'_>) -> Result<(), CellProblem> {
    match value {
        Value::Absent if is_required => Err(CellProblem::Absent),
        Value::Text(text) if text.is_empty() => Err(CellProblem::value("", kind.expected())),
        Value::Text(text) if kind == ColumnKind::Object => text::check_object(text),
        Value::Text(text) if text.len() > kind.text_bytes_max() => {
            Err(CellProblem::TooLong { bytes: text.len(), bytes_max: kind.text_bytes_max() })
        }
        Value::Floats(values) if values.len() > FEATURE_COUNT_MAX => {
            Err(CellProblem::TooManyFeatures { count_max: FEATURE_COUNT_MAX })
        }
        _ => Ok(()),
    }
}
