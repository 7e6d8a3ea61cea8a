//! Owns the two rows of training data sets, of features and of texts: an example, what it is, and
//! what its owner notes of it.
//!
//! Refuses to know formats and what labels mean. Bound:
//! [`truststram_base::limits::FEATURE_COUNT_MAX`], [`truststram_base::limits::TEXT_BYTES_MAX`], and
//! [`crate::TEXT_BYTES_MAX`] of a label.

use std::fs::File;

use crate::error::{CellProblem, ExchangeError};
use crate::format::Format;
use crate::reader::{ReadOptions, Reader};
use crate::row::{CellError, Column, ColumnKind, Row, Value, Values, needed};

const ID: usize = 0;
/// The input: features or a text.
const INPUT: usize = 1;
const LABEL: usize = 2;
const METADATA: usize = 3;

/// One example of a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DatasetRow {
    /// Its number, where the data set numbers its rows.
    pub id: Option<u64>,
    /// The input.
    pub features: Vec<f32>,
    /// The class, where it is known; never empty.
    pub label: Option<String>,
    /// Whatever else is known of it, as the text of one JSON object.
    pub metadata: Option<String>,
}

/// One example of a data set of texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextRow {
    /// Its number, where the data set numbers its rows.
    pub id: Option<u64>,
    /// The input; never empty.
    pub text: String,
    /// The class, where it is known; never empty.
    pub label: Option<String>,
    /// Whatever else is known of it, as the text of one JSON object.
    pub metadata: Option<String>,
}

impl Row for DatasetRow {
    const COLUMNS: &'static [Column] = &[
        Column::optional("id", ColumnKind::Unsigned64),
        Column::required("features", ColumnKind::Floats),
        Column::optional("label", ColumnKind::Text),
        Column::optional("metadata", ColumnKind::Object),
    ];

    fn value(&self, column: usize) -> Value<'_> {
        match column {
            ID => number(self.id),
            INPUT => Value::Floats(self.features.as_slice().into()),
            LABEL => text(&self.label),
            METADATA => text(&self.metadata),
            _ => Value::Absent,
        }
    }

    fn from_values(mut values: Values<'_>) -> Result<Self, CellError> {
        Ok(Self {
            id: values.unsigned(ID),
            label: short(&mut values, LABEL, ColumnKind::Text)?,
            features: needed(INPUT, values.floats(INPUT))?.into_owned(),
            metadata: values.text(METADATA).map(|text| text.into_owned()),
        })
    }
}

impl Row for TextRow {
    const COLUMNS: &'static [Column] = &[
        Column::optional("id", ColumnKind::Unsigned64),
        Column::required("text", ColumnKind::LongText),
        Column::optional("label", ColumnKind::Text),
        Column::optional("metadata", ColumnKind::Object),
    ];

    fn value(&self, column: usize) -> Value<'_> {
        match column {
            ID => number(self.id),
            INPUT => Value::Text(self.text.as_str().into()),
            LABEL => text(&self.label),
            METADATA => text(&self.metadata),
            _ => Value::Absent,
        }
    }

    fn from_values(mut values: Values<'_>) -> Result<Self, CellError> {
        Ok(Self {
            id: values.unsigned(ID),
            label: short(&mut values, LABEL, ColumnKind::Text)?,
            text: needed(INPUT, short(&mut values, INPUT, ColumnKind::LongText)?)?,
            metadata: values.text(METADATA).map(|text| text.into_owned()),
        })
    }
}

fn number(number: Option<u64>) -> Value<'static> {
    number.map_or(Value::Absent, Value::Unsigned)
}

fn text(text: &Option<String>) -> Value<'_> {
    text.as_deref().map_or(Value::Absent, |text| Value::Text(text.into()))
}

/// Takes a text that is within the limit of its kind.
fn short(
    values: &mut Values<'_>,
    column: usize,
    kind: ColumnKind,
) -> Result<Option<String>, CellError> {
    let (text, bytes_max) = (values.text(column), kind.text_bytes_max());
    match text {
        Some(text) if text.len() > bytes_max => {
            let problem = CellProblem::TooLong { bytes: text.len(), bytes_max };
            Err(CellError { column, problem })
        }
        text => Ok(text.map(|text| text.into_owned())),
    }
}

/// Which inputs a row has.
struct Inputs {
    has_features: bool,
    has_text: bool,
}

impl Row for Inputs {
    const COLUMNS: &'static [Column] = &[
        Column::optional("features", ColumnKind::Floats),
        Column::optional("text", ColumnKind::LongText),
    ];

    fn value(&self, _column: usize) -> Value<'_> {
        Value::Absent
    }

    fn from_values(mut values: Values<'_>) -> Result<Self, CellError> {
        Ok(Self { has_features: values.floats(0).is_some(), has_text: values.text(1).is_some() })
    }
}

/// Whether the rows of a file are [`TextRow`] and not [`DatasetRow`]: its first row has a text and
/// no features. Reading the rows says what is wrong with a file whose first row cannot be read.
///
/// # Errors
/// Of the operating system.
pub fn has_texts(format: Format, file: File) -> Result<bool, ExchangeError> {
    let options = ReadOptions { ignore_unknown_columns: true };
    let first = Reader::<Inputs>::open(format, file, options).map(|mut reader| reader.next());
    match first {
        Ok(Some(Ok(first))) => Ok(first.has_text && !first.has_features),
        Ok(Some(Err(error @ ExchangeError::Io(_)))) | Err(error @ ExchangeError::Io(_)) => {
            Err(error)
        }
        _ => Ok(false),
    }
}
