//! Owns rows as JSON Lines: one object a line, with a key a column, in any order.
//!
//! Refuses to know particular rows. Bound: [`ROW_BYTES_MAX`] a line.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::{ExchangeError, Place};
use crate::row::{COLUMN_COUNT_MAX, Column, ColumnKind, Row, Value, Values, unknown_column};
use crate::text::{self, ROW_BYTES_MAX};
use crate::time;

const BUFFER_BYTES: usize = 64 << 10;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Writes lines.
pub(crate) struct LineWriter<W: Write> {
    output: BufWriter<W>,
    line: Vec<u8>,
}

impl<W: Write> LineWriter<W> {
    /// A writer without lines yet.
    pub fn create(output: W) -> Self {
        Self { output: BufWriter::with_capacity(BUFFER_BYTES, output), line: Vec::new() }
    }

    /// Writes one line.
    pub fn write<R: Row>(&mut self, row: &R) -> Result<(), ExchangeError> {
        self.line.clear();
        for (index, column) in R::COLUMNS.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            write!(self.line, "{open}\"{}\":", column.name)?;
            write_value(&mut self.line, column.kind, &row.value(index))?;
        }
        self.line.extend_from_slice(b"}\n");
        Ok(self.output.write_all(&self.line)?)
    }

    /// Hands what is buffered to the output.
    pub fn finish(mut self) -> Result<(), ExchangeError> {
        Ok(self.output.flush()?)
    }
}

fn write_value(out: &mut Vec<u8>, kind: ColumnKind, value: &Value<'_>) -> io::Result<()> {
    match value {
        Value::Absent => out.write_all(b"null"),
        // Inside valid JSON a line break stands only between two tokens.
        Value::Text(text) if kind == ColumnKind::Object => {
            let bytes = text.bytes();
            out.extend(bytes.map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
            Ok(())
        }
        Value::Text(text) => Ok(serde_json::to_writer(out, text.as_ref())?),
        Value::Unsigned(value) => write!(out, "{value}"),
        Value::Float(value) => text::write_f32(out, *value),
        Value::Time(utc_us) => {
            let mut text = String::new();
            time::write(&mut text, *utc_us);
            // Microseconds are a number.
            if text.ends_with('Z') { write!(out, "\"{text}\"") } else { write!(out, "{text}") }
        }
        Value::Floats(values) => text::write_floats(out, values),
    }
}

/// Reads lines.
pub(crate) struct LineReader {
    input: BufReader<File>,
    line: Vec<u8>,
    ignore_unknown: bool,
    row: u64,
    line_number: u64,
    bytes_read: u64,
}

impl LineReader {
    /// A reader that has read nothing yet.
    pub fn open(file: File, ignore_unknown: bool) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER_BYTES, file),
            line: Vec::new(),
            ignore_unknown,
            row: 0,
            line_number: 0,
            bytes_read: 0,
        }
    }

    /// The next row; `None` at the end of the file. Empty lines are passed over. After an error
    /// about one row, the next follows.
    pub fn next_row<R: Row>(&mut self) -> Option<Result<R, ExchangeError>> {
        self.row += 1;
        loop {
            match self.next_line() {
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
                Ok(true) if self.line.is_empty() => {}
                Ok(true) => return Some(self.build()),
            }
        }
    }

    /// Reads one line without its end; false where the file ends.
    fn next_line(&mut self) -> Result<bool, ExchangeError> {
        self.line.clear();
        self.line_number += 1;
        let mut limited = (&mut self.input).take(ROW_BYTES_MAX + 1);
        let count = limited.read_until(b'\n', &mut self.line)? as u64;
        if count > ROW_BYTES_MAX {
            let place = self.place();
            return Err(ExchangeError::RowTooLong { place, bytes_max: ROW_BYTES_MAX });
        }
        if self.bytes_read == 0 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        self.bytes_read += count;
        let length = self.line.trim_ascii_end().len();
        self.line.truncate(length);
        Ok(count > 0)
    }

    fn place(&self) -> Place {
        Place::Row { row: self.row, line: Some(self.line_number) }
    }

    fn build<R: Row>(&self) -> Result<R, ExchangeError> {
        let place = self.place();
        let line = str::from_utf8(&self.line).map_err(|_| ExchangeError::NotUtf8 { place })?;
        let mut parser = serde_json::Deserializer::from_str(line);
        let cells = CellsSeed { columns: R::COLUMNS, ignore_unknown: self.ignore_unknown };
        let cells = cells.deserialize(&mut parser).and_then(|cells| {
            parser.end()?;
            Ok(cells)
        });
        let cells = cells.map_err(|error| json_error(place, &error))?;
        if let Some(name) = cells.unknown {
            return Err(unknown_column(place, &name, R::COLUMNS));
        }
        if let Some(column) = cells.doubled {
            return Err(ExchangeError::DoubledColumn { place, column });
        }
        let mut values = Values::new(self.row);
        for (index, (column, raw)) in R::COLUMNS.iter().zip(cells.raw).enumerate() {
            let Some(raw) = raw else { continue };
            let value = text::parse_json(column.kind, raw)
                .map_err(|problem| ExchangeError::Cell { place, column: column.name, problem })?;
            values.set(index, value);
        }
        R::from_values(values).map_err(|error| error.at(place, R::COLUMNS))
    }

    /// How far into the file the rows so far reach.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }
}

fn json_error(place: Place, error: &serde_json::Error) -> ExchangeError {
    // The parser sees one line, so that its own "at line 1" would mislead.
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
    ExchangeError::Json { place, reason, column: error.column() }
}

/// The cells of one line, not yet read.
#[derive(Default)]
struct Cells<'a> {
    raw: [Option<&'a RawValue>; COLUMN_COUNT_MAX],
    unknown: Option<String>,
    doubled: Option<&'static str>,
}

struct CellsSeed {
    columns: &'static [Column],
    ignore_unknown: bool,
}

impl<'de> DeserializeSeed<'de> for CellsSeed {
    type Value = Cells<'de>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Cells<'de>, D::Error> {
        parser.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for CellsSeed {
    type Value = Cells<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object with a key for each column")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Cells<'de>, M::Error> {
        let mut cells = Cells::default();
        while let Some(Key(name)) = map.next_key()? {
            match self.columns.iter().position(|column| column.name == name) {
                Some(index) => {
                    if cells.raw[index].replace(map.next_value()?).is_some() {
                        cells.doubled = Some(self.columns[index].name);
                    }
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                    if !self.ignore_unknown && cells.unknown.is_none() {
                        cells.unknown = Some(name.into_owned());
                    }
                }
            }
        }
        Ok(cells)
    }
}

/// A key, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
