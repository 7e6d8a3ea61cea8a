//! Owns what a format must know of a row: its columns, and the value of each.
//!
//! Refuses to know any format and any particular row. Bound: [`COLUMN_COUNT_MAX`] columns.

use std::borrow::Cow;

use truststram_base::limits;

use crate::error::{CellProblem, ExchangeError, Place};

/// Most columns of a row.
pub const COLUMN_COUNT_MAX: usize = 8;

/// Longest text of a cell, in bytes: longer than every id.
pub const TEXT_BYTES_MAX: usize = 256;

/// What the cells of a column hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text, never empty, of [`TEXT_BYTES_MAX`] at most.
    Text,
    /// Text, never empty, of [`truststram_base::limits::TEXT_BYTES_MAX`] at most.
    LongText,
    /// A whole number of 32 bits without sign.
    Unsigned32,
    /// A whole number of 64 bits without sign.
    Unsigned64,
    /// A number of 32 bits.
    Float,
    /// A time in microseconds since 1970, UTC.
    Time,
    /// Numbers of 32 bits.
    Floats,
    /// The text of one JSON object.
    Object,
}

impl ColumnKind {
    /// What a cell must be, as messages say it.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Text | Self::LongText => "text",
            Self::Unsigned32 => "a whole number from 0 to 4294967295",
            Self::Unsigned64 => "a whole number from 0 to 18446744073709551615",
            Self::Float => "a number that fits 32 bits, or \"NaN\", \"Infinity\" or \"-Infinity\"",
            Self::Time => "a time such as 2026-11-23T14:00:00Z, or microseconds since 1970",
            Self::Floats => "a list of numbers such as [1.0,2.5]",
            Self::Object => "one JSON object",
        }
    }

    /// Most bytes of a text.
    pub(crate) fn text_bytes_max(self) -> usize {
        match self {
            Self::LongText => limits::TEXT_BYTES_MAX,
            _ => TEXT_BYTES_MAX,
        }
    }

    /// The largest number that an unsigned cell may have.
    pub(crate) fn unsigned_max(self) -> u64 {
        if self == Self::Unsigned32 { u64::from(u32::MAX) } else { u64::MAX }
    }
}

/// One column of a kind of row.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in every format.
    pub name: &'static str,
    /// What its cells hold.
    pub kind: ColumnKind,
    /// Whether every row must have a value.
    pub is_required: bool,
}

impl Column {
    pub(crate) const fn required(name: &'static str, kind: ColumnKind) -> Self {
        Self { name, kind, is_required: true }
    }

    pub(crate) const fn optional(name: &'static str, kind: ColumnKind) -> Self {
        Self { name, kind, is_required: false }
    }
}

/// The value of one cell, as [`ColumnKind`] says.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// There is none.
    #[default]
    Absent,
    /// Of [`ColumnKind::Text`], [`ColumnKind::LongText`] and [`ColumnKind::Object`].
    Text(Cow<'a, str>),
    /// Of the two unsigned kinds, in range.
    Unsigned(u64),
    /// Of [`ColumnKind::Float`].
    Float(f32),
    /// Of [`ColumnKind::Time`].
    Time(i64),
    /// Of [`ColumnKind::Floats`].
    Floats(Cow<'a, [f32]>),
}

/// A kind of row that can be written and read.
pub trait Row: Sized {
    /// Its columns, at most [`COLUMN_COUNT_MAX`], in the order they are written.
    const COLUMNS: &'static [Column];

    /// The value of the column at this index.
    fn value(&self, column: usize) -> Value<'_>;

    /// The row that `values` make up; they are of the kinds of the columns, or absent.
    fn from_values(values: Values<'_>) -> Result<Self, CellError>;
}

/// What is wrong with which column of a row.
#[derive(Debug)]
pub struct CellError {
    /// Index of the column.
    pub column: usize,
    /// What is wrong.
    pub problem: CellProblem,
}

impl CellError {
    /// The same with the place and the name of the column.
    pub(crate) fn at(self, place: Place, columns: &'static [Column]) -> ExchangeError {
        let column = columns.get(self.column).map_or("", |column| column.name);
        ExchangeError::Cell { place, column, problem: self.problem }
    }
}

/// The values of a row that was read.
#[derive(Debug, Default)]
pub struct Values<'a> {
    cells: [Value<'a>; COLUMN_COUNT_MAX],
    row: u64,
}

/// One accessor: `None` where there is no value.
macro_rules! take {
    ($name:ident, $variant:ident, $type:ty) => {
        #[doc = concat!("Takes a value of kind `", stringify!($variant), "`, if there is one.")]
        pub fn $name(&mut self, column: usize) -> Option<$type> {
            match self.take(column) {
                Value::$variant(value) => Some(value),
                _ => None,
            }
        }
    };
}

impl<'a> Values<'a> {
    /// No value yet, for the row of this number, counted from 1.
    pub(crate) fn new(row: u64) -> Self {
        Self { cells: Default::default(), row }
    }

    pub(crate) fn set(&mut self, column: usize, value: Value<'a>) {
        if let Some(cell) = self.cells.get_mut(column) {
            *cell = value;
        }
    }

    fn take(&mut self, column: usize) -> Value<'a> {
        self.cells.get_mut(column).map(std::mem::take).unwrap_or_default()
    }

    /// The number of the row in its file, counted from 1.
    pub fn row(&self) -> u64 {
        self.row
    }

    take!(text, Text, Cow<'a, str>);
    take!(unsigned, Unsigned, u64);
    take!(float, Float, f32);
    take!(time, Time, i64);
    take!(floats, Floats, Cow<'a, [f32]>);
}

/// The value of a column that is required.
pub(crate) fn needed<T>(column: usize, value: Option<T>) -> Result<T, CellError> {
    value.ok_or(CellError { column, problem: CellProblem::Absent })
}

/// Where each column of a row stands in a file.
pub(crate) struct Layout {
    /// For each column of the row, its index in the file.
    pub places: Vec<Option<usize>>,
}

impl Layout {
    /// Matches the names of a file with `columns`, and says which is one too many or missing.
    pub fn new<'n>(
        columns: &'static [Column],
        names: impl Iterator<Item = &'n str>,
        ignore_unknown: bool,
    ) -> Result<Self, ExchangeError> {
        let place = Place::Header;
        let mut places = vec![None; columns.len()];
        for (index, name) in names.enumerate() {
            match columns.iter().position(|column| column.name == name) {
                Some(column) if places[column].is_some() => {
                    let column = columns[column].name;
                    return Err(ExchangeError::DoubledColumn { place, column });
                }
                Some(column) => places[column] = Some(index),
                None if ignore_unknown => {}
                None => return Err(unknown_column(place, name, columns)),
            }
        }
        let missing = columns
            .iter()
            .zip(&places)
            .find(|(column, place)| column.is_required && place.is_none());
        match missing {
            Some((column, _)) => Err(ExchangeError::MissingColumn { place, column: column.name }),
            None => Ok(Self { places }),
        }
    }
}

/// The error about a column that the rows do not have.
pub(crate) fn unknown_column(place: Place, name: &str, columns: &[Column]) -> ExchangeError {
    let known: Vec<String> = columns.iter().map(|column| format!("`{}`", column.name)).collect();
    let column = name.chars().take(64).collect();
    ExchangeError::UnknownColumn { place, column, known: known.join(", ") }
}
