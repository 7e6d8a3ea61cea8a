//! Owns rows as CSV (RFC 4180): a header, then a record a row; a list of numbers and an object are
//! one field of JSON each, and a value that is absent is an empty field.
//!
//! Refuses to know particular rows. Bound: [`ROW_BYTES_MAX`] a record, so that a quote that never
//! closes does not read the whole file into memory.

use std::fs::File;
use std::io::{self, Read, Write};

use csv::{ByteRecord, ErrorKind};

use crate::error::{ExchangeError, Place};
use crate::row::{Column, Layout, Row, Value, Values};
use crate::text::{self, ROW_BYTES_MAX};
use crate::time;

const BUFFER_BYTES: usize = 64 << 10;

/// Writes records.
pub(crate) struct CommaWriter<W: Write> {
    inner: csv::Writer<W>,
    field: Vec<u8>,
}

impl<W: Write> CommaWriter<W> {
    /// Writes the header.
    pub fn create(output: W, columns: &'static [Column]) -> Result<Self, ExchangeError> {
        let mut inner = csv::WriterBuilder::new().buffer_capacity(BUFFER_BYTES).from_writer(output);
        let header = inner.write_record(columns.iter().map(|column| column.name));
        header.map_err(io::Error::from)?;
        Ok(Self { inner, field: Vec::new() })
    }

    /// Writes one record.
    pub fn write<R: Row>(&mut self, row: &R) -> Result<(), ExchangeError> {
        for column in 0..R::COLUMNS.len() {
            self.field.clear();
            write_field(&mut self.field, &row.value(column))?;
            self.inner.write_field(&self.field).map_err(io::Error::from)?;
        }
        Ok(self.inner.write_record(None::<&[u8]>).map_err(io::Error::from)?)
    }

    /// Hands what is buffered to the output.
    pub fn finish(mut self) -> Result<(), ExchangeError> {
        Ok(self.inner.flush()?)
    }
}

fn write_field(out: &mut Vec<u8>, value: &Value<'_>) -> io::Result<()> {
    match value {
        Value::Absent => Ok(()),
        Value::Text(text) => out.write_all(text.as_bytes()),
        Value::Unsigned(value) => write!(out, "{value}"),
        Value::Float(value) => match text::name_of(*value) {
            Some(name) => out.write_all(name.as_bytes()),
            None => text::write_f32(out, *value),
        },
        Value::Time(utc_us) => {
            let mut text = String::new();
            time::write(&mut text, *utc_us);
            out.write_all(text.as_bytes())
        }
        Value::Floats(values) => text::write_floats(out, values),
    }
}

/// Reads records.
pub(crate) struct CommaReader {
    inner: csv::Reader<Allowance>,
    layout: Layout,
    record: ByteRecord,
    row: u64,
}

impl CommaReader {
    /// Reads the header.
    pub fn open(
        file: File,
        columns: &'static [Column],
        ignore_unknown: bool,
    ) -> Result<Self, ExchangeError> {
        let input = Allowance { file, left: ROW_BYTES_MAX, is_exceeded: false };
        let mut inner = csv::ReaderBuilder::new().buffer_capacity(BUFFER_BYTES).from_reader(input);
        let header = match inner.byte_headers() {
            Ok(header) => header.clone(),
            Err(error) => return Err(file_error(error, &inner, Place::Header)),
        };
        let names: Result<Vec<&str>, _> = header.iter().map(str::from_utf8).collect();
        let names = names.map_err(|_| ExchangeError::NotUtf8 { place: Place::Header })?;
        let names = names.into_iter().map(str::trim);
        let layout = Layout::new(columns, names, ignore_unknown)?;
        Ok(Self { inner, layout, record: ByteRecord::new(), row: 0 })
    }

    /// The next row; `None` at the end of the file. After an error about one row, the next follows.
    pub fn next_row<R: Row>(&mut self) -> Option<Result<R, ExchangeError>> {
        self.inner.get_mut().left = ROW_BYTES_MAX;
        self.row += 1;
        let read = self.inner.read_byte_record(&mut self.record);
        let position = self.record.position().or(self.inner.position().into());
        let place = Place::Row { row: self.row, line: position.map(csv::Position::line) };
        match read {
            Ok(false) => None,
            Ok(true) => Some(self.build(place)),
            Err(error) => Some(Err(file_error(error, &self.inner, place))),
        }
    }

    fn build<R: Row>(&self, place: Place) -> Result<R, ExchangeError> {
        let mut values = Values::new(self.row);
        for (index, column) in R::COLUMNS.iter().enumerate() {
            let field = self.layout.places[index].and_then(|at| self.record.get(at));
            let Some(field) = field else { continue };
            let field = str::from_utf8(field).map_err(|_| ExchangeError::NotUtf8 { place })?;
            let value = text::parse(column.kind, field).map_err(|problem| ExchangeError::Cell {
                place,
                column: column.name,
                problem,
            })?;
            values.set(index, value);
        }
        R::from_values(values).map_err(|error| error.at(place, R::COLUMNS))
    }

    /// How far into the file the rows so far reach.
    pub fn bytes_read(&self) -> u64 {
        self.inner.position().byte()
    }
}

fn file_error(error: csv::Error, inner: &csv::Reader<Allowance>, place: Place) -> ExchangeError {
    if inner.get_ref().is_exceeded {
        return ExchangeError::RowTooLong { place, bytes_max: ROW_BYTES_MAX };
    }
    match error.into_kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            ExchangeError::FieldCount { place, found: len, expected: expected_len }
        }
        ErrorKind::Utf8 { .. } => ExchangeError::NotUtf8 { place },
        ErrorKind::Io(error) => error.into(),
        other => io::Error::other(format!("{other:?}")).into(),
    }
}

/// A file of which only so much is read before the next record begins.
struct Allowance {
    file: File,
    left: u64,
    is_exceeded: bool,
}

impl Read for Allowance {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            self.is_exceeded = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..length])?;
        self.left -= count as u64;
        Ok(count)
    }
}
