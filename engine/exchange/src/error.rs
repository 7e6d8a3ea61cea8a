//! Owns what can be wrong with a file of rows: where it is, what it is and what to do about it.
//!
//! Refuses to know paths; whoever opened the file names it. Bound: one enum for files, one for
//! the value of a cell; values are shown with [`SHOWN_CHAR_COUNT_MAX`] characters.

use std::fmt;
use std::io;

use parquet::errors::ParquetError;
use truststram_base::{IdError, Kind};

/// How much of a wrong value a message shows.
const SHOWN_CHAR_COUNT_MAX: usize = 40;

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The names of the columns.
    Header,
    /// A row, counted from 1 without the header, and the line of text it begins on.
    Row {
        /// The row.
        row: u64,
        /// The line, counted from 1; a Parquet file has none.
        line: Option<u64>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(out, "the header"),
            Self::Row { row, line: None } => write!(out, "row {row}"),
            Self::Row { row, line: Some(line) } => write!(out, "row {row} (line {line})"),
        }
    }
}

/// Why a file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The operating system refused.
    #[error("the file cannot be written or read: {0}")]
    Io(#[from] io::Error),
    /// No format has this name or file ending.
    #[error("`{name}` is no format; it must be `parquet`, `csv` or `jsonl`")]
    UnknownFormat {
        /// The name or ending.
        name: String,
    },
    /// A column that the rows do not have.
    #[error(
        "{place}: unknown column `{column}`; the columns are {known}. Rename or remove it, or \
         have unknown columns ignored"
    )]
    UnknownColumn {
        /// Where it is named.
        place: Place,
        /// Its name.
        column: String,
        /// The names that there are.
        known: String,
    },
    /// A column without which no row can be made.
    #[error("{place}: column `{column}` is missing; add it, every row needs a value")]
    MissingColumn {
        /// Where it should be named.
        place: Place,
        /// Its name.
        column: &'static str,
    },
    /// A column that is there twice.
    #[error("{place}: column `{column}` is there twice; remove one")]
    DoubledColumn {
        /// Where it is named.
        place: Place,
        /// Its name.
        column: &'static str,
    },
    /// A Parquet column of a type that is not converted.
    #[error("column `{column}` is of type {found}; it must be {expected}")]
    ColumnType {
        /// Its name.
        column: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A Parquet column that is compressed or encoded in a way that is not read.
    #[error(
        "column `{column}` cannot be read: {reason}; write the file with zstd or snappy, and with \
         plain or dictionary encoding"
    )]
    Unreadable {
        /// Its name.
        column: &'static str,
        /// Why.
        reason: String,
    },
    /// The value of one cell.
    #[error("{place}, column `{column}` {problem}")]
    Cell {
        /// Its row.
        place: Place,
        /// Its column.
        column: &'static str,
        /// What is wrong.
        problem: CellProblem,
    },
    /// A row of text that is longer than the limit, or one that never ends.
    #[error("{place} is longer than {bytes_max} bytes; is a quote or the end of a line missing?")]
    RowTooLong {
        /// The row.
        place: Place,
        /// The limit.
        bytes_max: u64,
    },
    /// Text that is not UTF-8.
    #[error("{place} is not UTF-8; convert the file to UTF-8")]
    NotUtf8 {
        /// The row.
        place: Place,
    },
    /// A line that is not one JSON object.
    #[error("{place} is not one JSON object: {reason}, at byte {column}")]
    Json {
        /// The row.
        place: Place,
        /// What the parser says.
        reason: String,
        /// Where in the line, counted from 1.
        column: usize,
    },
    /// A CSV row with more or fewer fields than the header.
    #[error("{place} has {found} fields where the header has {expected}; quote fields with commas")]
    FieldCount {
        /// The row.
        place: Place,
        /// How many it has.
        found: u64,
        /// How many it must have.
        expected: u64,
    },
    /// The file is damaged, or of another format.
    #[error("the file is damaged or no Parquet file: {reason}; make or copy it again")]
    NotParquet {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The Parquet library found the file damaged.
    #[error("the file is damaged near {place}: {source}; make or copy it again")]
    Damaged {
        /// The first row that cannot be read.
        place: Place,
        /// What the library says.
        source: ParquetError,
    },
    /// The Parquet library could not write.
    #[error("the Parquet file cannot be written: {0}")]
    Writing(#[source] ParquetError),
}

impl ExchangeError {
    /// What the error means to its receiver.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Io(source) => io_kind(source),
            Self::Writing(ParquetError::External(source)) => {
                source.downcast_ref::<io::Error>().map_or(Kind::Internal, io_kind)
            }
            Self::Writing(_) => Kind::Internal,
            Self::UnknownFormat { .. }
            | Self::UnknownColumn { .. }
            | Self::MissingColumn { .. }
            | Self::DoubledColumn { .. }
            | Self::ColumnType { .. }
            | Self::Unreadable { .. }
            | Self::Cell { .. } => Kind::Invalid,
            Self::RowTooLong { .. } => Kind::TooLarge,
            Self::NotUtf8 { .. }
            | Self::Json { .. }
            | Self::FieldCount { .. }
            | Self::NotParquet { .. } => Kind::Malformed,
            Self::Damaged { .. } => Kind::Corrupt,
        }
    }

    /// Whether the rows after this one can still be read.
    pub fn is_about_one_row(&self) -> bool {
        match self {
            Self::Cell { .. }
            | Self::NotUtf8 { .. }
            | Self::Json { .. }
            | Self::FieldCount { .. } => true,
            Self::UnknownColumn { place, .. } | Self::DoubledColumn { place, .. } => {
                matches!(place, Place::Row { .. })
            }
            _ => false,
        }
    }
}

fn io_kind(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
        io::ErrorKind::NotFound => Kind::NotFound,
        _ => Kind::Internal,
    }
}

/// Why a cell has no acceptable value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CellProblem {
    /// It is empty, null or left out.
    #[error("has no value; every row must have one")]
    Absent,
    /// It is of another type, or out of range.
    #[error("is {found}; it must be {expected}")]
    Value {
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// An element of a list is no number.
    #[error("has {found} as element {index} (from 0); it must be {expected}")]
    Element {
        /// Which one, counted from 0.
        index: usize,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// More features than a model can have.
    #[error("has more than {count_max} numbers; split or reduce them")]
    TooManyFeatures {
        /// The limit.
        count_max: usize,
    },
    /// A text that is longer than the limit.
    #[error("has {bytes} bytes; it must have {bytes_max} at most")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A text that is no id.
    #[error("{found} {problem}")]
    Id {
        /// The text.
        found: String,
        /// What is wrong with it.
        problem: IdError,
    },
}

impl CellProblem {
    pub(crate) fn value(found: impl AsRef<str>, expected: &'static str) -> Self {
        Self::Value { found: shown(found.as_ref()), expected }
    }

    pub(crate) fn id(found: &str, problem: IdError) -> Self {
        Self::Id { found: shown(found), problem }
    }
}

/// `text` in backquotes, shortened, without control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut kept: String = text
        .chars()
        .take(SHOWN_CHAR_COUNT_MAX)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    format!("`{kept}`")
}
