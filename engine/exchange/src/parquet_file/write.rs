//! Owns the writing of a Parquet file: rows are gathered column by column, a row group at a time.
//!
//! Refuses to know particular rows. Bound: [`GROUP_ROW_COUNT_MAX`] rows or [`GROUP_BYTES_MAX`] of
//! values a row group, and their encoded form while it is written.

use std::io::Write;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::schema;
use crate::error::ExchangeError;
use crate::row::{Column, ColumnKind, Row, Value};

const GROUP_ROW_COUNT_MAX: usize = 128 << 10;
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Writes rows.
pub(crate) struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    gathered: Vec<Gathered>,
    row_count: usize,
    bytes: usize,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Begins a file.
    pub fn create(
        output: W,
        columns: &'static [Column],
    ) -> std::result::Result<Self, ExchangeError> {
        let file = schema::written(columns).and_then(|schema| {
            SerializedFileWriter::new(output, schema, properties(columns).into())
        });
        let file = file.map_err(ExchangeError::Writing)?;
        let gathered = columns.iter().map(Gathered::new).collect();
        Ok(Self { file, gathered, row_count: 0, bytes: 0 })
    }

    /// Gathers one row; writes a row group when it is full.
    pub fn write<R: Row>(&mut self, row: &R) -> std::result::Result<(), ExchangeError> {
        for (index, column) in self.gathered.iter_mut().enumerate() {
            self.bytes += column.push(row.value(index));
        }
        self.row_count += 1;
        if self.row_count >= GROUP_ROW_COUNT_MAX || self.bytes >= GROUP_BYTES_MAX {
            self.flush().map_err(ExchangeError::Writing)?;
        }
        Ok(())
    }

    /// Writes what is gathered and the footer.
    pub fn finish(mut self) -> std::result::Result<(), ExchangeError> {
        if self.row_count > 0 {
            self.flush().map_err(ExchangeError::Writing)?;
        }
        self.file.close().map_err(ExchangeError::Writing)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let mut group = self.file.next_row_group()?;
        for gathered in &mut self.gathered {
            let column = group.next_column()?;
            let mut column =
                column.ok_or_else(|| ParquetError::General("a column is missing".into()))?;
            gathered.write(column.untyped())?;
            column.close()?;
        }
        group.close()?;
        self.row_count = 0;
        self.bytes = 0;
        Ok(())
    }
}

fn properties(columns: &[Column]) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_created_by(concat!("truststram ", env!("CARGO_PKG_VERSION")).to_owned());
    // Times hardly repeat, but follow each other closely.
    for column in columns.iter().filter(|column| column.kind == ColumnKind::Time) {
        let path = ColumnPath::from(column.name);
        builder = builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    builder.build()
}

enum Cells {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    /// All texts in one piece, and where each ends.
    Text(Vec<u8>, Vec<usize>),
}

/// The values of one column until their row group is written.
struct Gathered {
    cells: Cells,
    is_list: bool,
    is_required: bool,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl Gathered {
    fn new(column: &Column) -> Self {
        let cells = match column.kind {
            ColumnKind::Text | ColumnKind::LongText | ColumnKind::Object => {
                Cells::Text(Vec::new(), Vec::new())
            }
            ColumnKind::Unsigned32 => Cells::Int32(Vec::new()),
            ColumnKind::Unsigned64 | ColumnKind::Time => Cells::Int64(Vec::new()),
            ColumnKind::Float | ColumnKind::Floats => Cells::Float(Vec::new()),
        };
        let is_list = column.kind == ColumnKind::Floats;
        let (definitions, repetitions) = (Vec::new(), Vec::new());
        Self { cells, is_list, is_required: column.is_required, definitions, repetitions }
    }

    /// Adds a value and says how many bytes that took.
    fn push(&mut self, value: Value<'_>) -> usize {
        if self.is_list {
            return self.push_list(&value);
        }
        if !self.is_required {
            self.definitions.push(i16::from(value != Value::Absent));
        }
        match (&mut self.cells, value) {
            (_, Value::Absent) => 0,
            (Cells::Text(bytes, ends), Value::Text(text)) => {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(bytes.len());
                text.len() + size_of::<usize>()
            }
            // Parquet keeps unsigned numbers in the bits of signed ones.
            (Cells::Int32(values), Value::Unsigned(value)) => {
                values.push((value as u32).cast_signed());
                size_of::<i32>()
            }
            (Cells::Int64(values), Value::Unsigned(value)) => {
                values.push(value.cast_signed());
                size_of::<i64>()
            }
            (Cells::Int64(values), Value::Time(utc_us)) => {
                values.push(utc_us);
                size_of::<i64>()
            }
            (Cells::Float(values), Value::Float(value)) => {
                values.push(value);
                size_of::<f32>()
            }
            (_, _) => 0,
        }
    }

    /// The levels count what is there: the list, where it can be missing, and an element.
    fn push_list(&mut self, value: &Value<'_>) -> usize {
        let list_level = i16::from(!self.is_required);
        let (Cells::Float(cells), Value::Floats(floats)) = (&mut self.cells, value) else {
            self.definitions.push(0);
            self.repetitions.push(0);
            return size_of::<i16>() * 2;
        };
        let level_count = floats.len().max(1);
        let level = if floats.is_empty() { list_level } else { list_level + 1 };
        self.definitions.resize(self.definitions.len() + level_count, level);
        self.repetitions.push(0);
        self.repetitions.resize(self.repetitions.len() + level_count - 1, 1);
        cells.extend_from_slice(floats);
        size_of_val(floats.as_ref()) + level_count * size_of::<i16>() * 2
    }

    fn write(&mut self, writer: &mut ColumnWriter<'_>) -> Result<()> {
        let definitions =
            (self.is_list || !self.is_required).then_some(self.definitions.as_slice());
        let repetitions = self.is_list.then_some(self.repetitions.as_slice());
        match (&mut self.cells, writer) {
            (Cells::Int32(values), ColumnWriter::Int32ColumnWriter(writer)) => {
                writer.write_batch(values, definitions, repetitions)?;
                values.clear();
            }
            (Cells::Int64(values), ColumnWriter::Int64ColumnWriter(writer)) => {
                writer.write_batch(values, definitions, repetitions)?;
                values.clear();
            }
            (Cells::Float(values), ColumnWriter::FloatColumnWriter(writer)) => {
                writer.write_batch(values, definitions, repetitions)?;
                values.clear();
            }
            (Cells::Text(bytes, ends), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                let whole = Bytes::from(std::mem::take(bytes));
                let mut start = 0;
                let texts = ends.drain(..).map(|end| {
                    let text = whole.slice(start..end);
                    start = end;
                    ByteArray::from(text)
                });
                let texts: Vec<ByteArray> = texts.collect();
                writer.write_batch(&texts, definitions, repetitions)?;
            }
            _ => return Err(ParquetError::General("a column has another type".into())),
        }
        self.definitions.clear();
        self.repetitions.clear();
        Ok(())
    }
}
