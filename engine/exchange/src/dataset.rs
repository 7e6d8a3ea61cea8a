//! Owns the row of a training data set: an example, what it is, and what its owner notes of it.
//!
//! Refuses to know formats and what labels mean. Bound:
//! [`truststram_base::limits::FEATURE_COUNT_MAX`] and [`TEXT_BYTES_MAX`].

use crate::error::CellProblem;
use crate::row::{CellError, Column, ColumnKind, Row, TEXT_BYTES_MAX, Value, Values, needed};

const ID: usize = 0;
const FEATURES: usize = 1;
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

impl Row for DatasetRow {
    const COLUMNS: &'static [Column] = &[
        Column::optional("id", ColumnKind::Unsigned64),
        Column::required("features", ColumnKind::Floats),
        Column::optional("label", ColumnKind::Text),
        Column::optional("metadata", ColumnKind::Object),
    ];

    fn value(&self, column: usize) -> Value<'_> {
        match column {
            ID => self.id.map_or(Value::Absent, Value::Unsigned),
            FEATURES => Value::Floats(self.features.as_slice().into()),
            LABEL => text(&self.label),
            METADATA => text(&self.metadata),
            _ => Value::Absent,
        }
    }

    fn from_values(mut values: Values<'_>) -> Result<Self, CellError> {
        let label = values.text(LABEL);
        if let Some(label) = &label
            && label.len() > TEXT_BYTES_MAX
        {
            let (bytes, bytes_max) = (label.len(), TEXT_BYTES_MAX);
            let problem = CellProblem::TooLong { bytes, bytes_max };
            return Err(CellError { column: LABEL, problem });
        }
        Ok(Self {
            id: values.unsigned(ID),
            features: needed(FEATURES, values.floats(FEATURES))?.into_owned(),
            label: label.map(|label| label.into_owned()),
            metadata: values.text(METADATA).map(|text| text.into_owned()),
        })
    }
}

fn text(text: &Option<String>) -> Value<'_> {
    text.as_deref().map_or(Value::Absent, |text| Value::Text(text.into()))
}
