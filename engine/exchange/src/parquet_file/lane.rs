//! Owns one column of one row group while it is read: levels and values of a batch, and their
//! conversion where nothing is lost by it.
//!
//! Refuses to know pages and rows. Bound: one batch, whose size the caller chooses; the elements
//! of one row are bounded by `pages`.

use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{
    ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type, Int96, Int96Type,
};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescPtr;

use super::schema::{Leaf, Unit};
use crate::error::{CellProblem, shown};
use crate::row::{ColumnKind, Value};
use crate::{text, time};

const JULIAN_DAY_OF_1970: i128 = 2_440_588;
const DAY_NANOSECONDS: i128 = 86_400_000_000_000;

const FLOAT_EXPECTED: &str = "a number that 32 bits hold exactly; cast the column to 32 bits";

/// A reader with the values that it has read.
enum Cells {
    Int32(ColumnReaderImpl<Int32Type>, Vec<i32>),
    Int64(ColumnReaderImpl<Int64Type>, Vec<i64>),
    Int96(ColumnReaderImpl<Int96Type>, Vec<Int96>),
    Float(ColumnReaderImpl<FloatType>, Vec<f32>),
    Double(ColumnReaderImpl<DoubleType>, Vec<f64>),
    Text(ColumnReaderImpl<ByteArrayType>, Vec<ByteArray>),
}

/// The same for every type of value.
macro_rules! each {
    ($cells:expr, $reader:pat, $values:pat => $body:expr) => {
        match $cells {
            Cells::Int32($reader, $values) => $body,
            Cells::Int64($reader, $values) => $body,
            Cells::Int96($reader, $values) => $body,
            Cells::Float($reader, $values) => $body,
            Cells::Double($reader, $values) => $body,
            Cells::Text($reader, $values) => $body,
        }
    };
}

/// One column of one row group.
pub(super) struct Lane {
    leaf: Leaf,
    kind: ColumnKind,
    cells: Cells,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    level_at: usize,
    value_at: usize,
}

impl Lane {
    pub fn new(
        leaf: Leaf,
        kind: ColumnKind,
        descriptor: ColumnDescPtr,
        pages: Box<dyn PageReader>,
    ) -> Result<Self> {
        let cells = match get_column_reader(descriptor, pages) {
            ColumnReader::Int32ColumnReader(reader) => Cells::Int32(reader, Vec::new()),
            ColumnReader::Int64ColumnReader(reader) => Cells::Int64(reader, Vec::new()),
            ColumnReader::Int96ColumnReader(reader) => Cells::Int96(reader, Vec::new()),
            ColumnReader::FloatColumnReader(reader) => Cells::Float(reader, Vec::new()),
            ColumnReader::DoubleColumnReader(reader) => Cells::Double(reader, Vec::new()),
            ColumnReader::ByteArrayColumnReader(reader) => Cells::Text(reader, Vec::new()),
            ColumnReader::BoolColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                return Err(ParquetError::NYI("its type is not converted".into()));
            }
        };
        let (definitions, repetitions) = (Vec::new(), Vec::new());
        Ok(Self { leaf, kind, cells, definitions, repetitions, level_at: 0, value_at: 0 })
    }

    pub fn is_list(&self) -> bool {
        self.leaf.is_list
    }

    /// Forgets the batch.
    pub fn clear(&mut self) {
        each!(&mut self.cells, _, values => values.clear());
        self.definitions.clear();
        self.repetitions.clear();
        self.level_at = 0;
        self.value_at = 0;
    }

    /// Adds up to so many rows to the batch, and says how many there were.
    pub fn read(&mut self, row_count: usize) -> Result<usize> {
        let (definitions, repetitions) = (&mut self.definitions, &mut self.repetitions);
        each!(&mut self.cells, reader, values => {
            let read =
                reader.read_records(row_count, Some(definitions), Some(repetitions), values)?;
            Ok(read.0)
        })
    }

    /// How many values the batch has.
    pub fn value_count(&self) -> usize {
        each!(&self.cells, _, values => values.len())
    }

    /// The value of the next row.
    pub fn next(&mut self) -> std::result::Result<Value<'_>, CellProblem> {
        if self.leaf.is_list {
            return self.next_list();
        }
        let level = self.definitions.get(self.level_at).copied().unwrap_or_default();
        self.level_at += 1;
        if level < self.leaf.definition_max {
            return Ok(Value::Absent);
        }
        let at = self.value_at;
        self.value_at += 1;
        self.scalar(at)
    }

    fn scalar(&self, at: usize) -> std::result::Result<Value<'_>, CellProblem> {
        let wrong = |found: String| CellProblem::value(found, self.kind.expected());
        match self.kind {
            ColumnKind::Text | ColumnKind::LongText | ColumnKind::Object => self.text(at),
            ColumnKind::Unsigned32 | ColumnKind::Unsigned64 => {
                let number = self.whole(at).and_then(|number| u64::try_from(number).ok());
                let number = number.filter(|&number| number <= self.kind.unsigned_max());
                number.map(Value::Unsigned).ok_or_else(|| wrong(self.show(at)))
            }
            ColumnKind::Float => {
                let wrong = || CellProblem::value(self.show(at), FLOAT_EXPECTED);
                self.float(at).map(Value::Float).ok_or_else(wrong)
            }
            ColumnKind::Time => self.time(at).map(Value::Time).ok_or_else(|| wrong(self.show(at))),
            ColumnKind::Floats => Ok(Value::Absent),
        }
    }

    fn text(&self, at: usize) -> std::result::Result<Value<'_>, CellProblem> {
        let wrong = |found: &str| CellProblem::value(found, self.kind.expected());
        let Cells::Text(_, values) = &self.cells else {
            let number = self.whole(at).ok_or_else(|| wrong(&self.show(at)))?;
            return Ok(Value::Text(number.to_string().into()));
        };
        let text = values.get(at).map(ByteArray::data).unwrap_or_default();
        let text = str::from_utf8(text).map_err(|_| wrong("not UTF-8"))?;
        if text.is_empty() {
            return Err(wrong(text));
        }
        if self.kind == ColumnKind::Object {
            text::check_object(text)?;
        }
        Ok(Value::Text(text.into()))
    }

    /// A whole number, if the value is one.
    fn whole(&self, at: usize) -> Option<i128> {
        let signed = self.leaf.is_signed;
        match &self.cells {
            Cells::Int32(_, values) => values.get(at).map(|&value| {
                if signed { i128::from(value) } else { i128::from(value.cast_unsigned()) }
            }),
            Cells::Int64(_, values) => values.get(at).map(|&value| {
                if signed { i128::from(value) } else { i128::from(value.cast_unsigned()) }
            }),
            Cells::Float(_, values) => values.get(at).and_then(|&value| whole_of(value.into())),
            Cells::Double(_, values) => values.get(at).and_then(|&value| whole_of(value)),
            Cells::Int96(..) | Cells::Text(..) => None,
        }
    }

    /// A number of 32 bits, if it says the value exactly.
    fn float(&self, at: usize) -> Option<f32> {
        match &self.cells {
            Cells::Float(_, values) => values.get(at).copied(),
            Cells::Double(_, values) => values.get(at).and_then(|&value| {
                let narrow = value as f32;
                (value.is_nan() || f64::from(narrow) == value).then_some(narrow)
            }),
            _ => self.whole(at).and_then(|value| {
                let narrow = value as f32;
                (narrow as i128 == value).then_some(narrow)
            }),
        }
    }

    /// Microseconds since 1970, if they say the value exactly.
    fn time(&self, at: usize) -> Option<i64> {
        let (count, unit) = match &self.cells {
            Cells::Text(_, values) => {
                return time::parse(str::from_utf8(values.get(at)?.data()).ok()?);
            }
            // Days since the beginning of the Julian calendar and nanoseconds of the day.
            Cells::Int96(_, values) => {
                let [low, high, day] = *values.get(at)?.data() else { return None };
                let of_day = i128::from(high) << 32 | i128::from(low);
                let days = i128::from(day) - JULIAN_DAY_OF_1970;
                (days * DAY_NANOSECONDS + of_day, Unit::Nanoseconds)
            }
            _ => (self.whole(at)?, self.leaf.unit),
        };
        let utc_us = match unit {
            Unit::Milliseconds => count.checked_mul(1000),
            Unit::Microseconds => Some(count),
            Unit::Nanoseconds => (count % 1000 == 0).then_some(count / 1000),
        };
        i64::try_from(utc_us?).ok()
    }

    fn next_list(&mut self) -> std::result::Result<Value<'_>, CellProblem> {
        let first = self.level_at;
        let rest = self.repetitions.get(first + 1..).unwrap_or_default();
        let end = first + 1 + rest.iter().take_while(|&&level| level != 0).count();
        self.level_at = end;
        let levels = self.definitions.get(first..end).unwrap_or_default();
        let from = self.value_at;
        let count = levels.iter().filter(|&&level| level == self.leaf.definition_max).count();
        self.value_at += count;
        match levels.first() {
            Some(&level) if level >= self.leaf.definition_element => {}
            // One level below that of an element is a list without any.
            Some(&level) if level == self.leaf.definition_element - 1 => {
                return Ok(Value::Floats((&[]).into()));
            }
            _ => return Ok(Value::Absent),
        }
        let null = levels.iter().position(|&level| level < self.leaf.definition_max);
        let wrong = |index: usize, found: String| CellProblem::Element {
            index,
            found,
            expected: FLOAT_EXPECTED,
        };
        if let Some(index) = null {
            let (found, expected) = ("null".to_owned(), "a number");
            return Err(CellProblem::Element { index, found, expected });
        }
        if let Cells::Float(_, values) = &self.cells {
            let values = values.get(from..from + count).unwrap_or_default();
            return Ok(Value::Floats(values.into()));
        }
        let numbers = (0..count).map(|index| {
            let at = from + index;
            self.float(at).ok_or_else(|| wrong(index, shown(&self.show(at))))
        });
        Ok(Value::Floats(numbers.collect::<std::result::Result<Vec<f32>, _>>()?.into()))
    }

    /// The value as a message shows it.
    fn show(&self, at: usize) -> String {
        let shown = match &self.cells {
            Cells::Int32(..) | Cells::Int64(..) => self.whole(at).map(|value| value.to_string()),
            Cells::Int96(_, values) => values.get(at).map(|value| format!("{:?}", value.data())),
            Cells::Float(_, values) => values.get(at).map(|value| format!("{value:?}")),
            Cells::Double(_, values) => values.get(at).map(|value| format!("{value:?}")),
            Cells::Text(_, values) => {
                values.get(at).map(|value| String::from_utf8_lossy(value.data()).into_owned())
            }
        };
        shown.unwrap_or_default()
    }
}

/// The whole number that `value` is exactly, if it is one.
fn whole_of(value: f64) -> Option<i128> {
    // Beyond this all are whole, but none of the kinds of column takes them.
    let is_in_range = value.abs() <= 18_446_744_073_709_551_616.0;
    (is_in_range && value.fract() == 0.0).then_some(value as i128)
}
