//! Owns the columns of a kept prediction; their names are those of `GET /api/v1/predictions`.
//!
//! Refuses to know formats. Bound: the limits of `truststram_base::limits`. A confidence outside
//! 0 to 1 passes, so that whatever was kept can come back.

use truststram_base::{IdError, ModelId, ModelVersion, PredictionRecord, RequestId, UserId};
use xxhash_rust::xxh3::Xxh3;

use crate::error::CellProblem;
use crate::row::{CellError, Column, ColumnKind, Row, Value, Values, needed};

const REQUEST: usize = 0;
const MODEL: usize = 1;
const VERSION: usize = 2;
const USER: usize = 3;
const TIMESTAMP: usize = 4;
const CLASS: usize = 5;
const CONFIDENCE: usize = 6;
const FEATURES: usize = 7;

impl Row for PredictionRecord {
    const COLUMNS: &'static [Column] = &[
        Column::optional("request_id", ColumnKind::Text),
        Column::required("model_id", ColumnKind::Text),
        Column::required("model_version", ColumnKind::Unsigned32),
        Column::optional("user_id", ColumnKind::Text),
        Column::required("timestamp", ColumnKind::Time),
        Column::required("class", ColumnKind::Unsigned32),
        Column::required("confidence", ColumnKind::Float),
        Column::optional("features", ColumnKind::Floats),
    ];

    fn value(&self, column: usize) -> Value<'_> {
        match column {
            REQUEST => Value::Text(self.request.to_string().into()),
            MODEL => Value::Text(self.model.as_str().into()),
            VERSION => Value::Unsigned(u64::from(self.version.0)),
            USER => self.user.as_ref().map_or(Value::Absent, |id| Value::Text(id.as_str().into())),
            TIMESTAMP => Value::Time(self.timestamp_us),
            CLASS => Value::Unsigned(u64::from(self.class)),
            CONFIDENCE => Value::Float(self.confidence),
            FEATURES => Value::Floats(self.features.as_slice().into()),
            _ => Value::Absent,
        }
    }

    fn from_values(mut values: Values<'_>) -> Result<Self, CellError> {
        let request = values.text(REQUEST).map(|text| {
            let problem = || CellProblem::value(&text, "32 hexadecimal digits");
            RequestId::from_hex(&text)
                .ok_or_else(|| CellError { column: REQUEST, problem: problem() })
        });
        let request = request.transpose()?;
        let model = needed(MODEL, values.text(MODEL))?;
        let user = values.text(USER);
        let mut record = Self {
            request: RequestId(0),
            model: id(MODEL, &model, ModelId::new)?,
            version: ModelVersion(narrow(VERSION, values.unsigned(VERSION))?),
            user: user.map(|text| id(USER, &text, UserId::new)).transpose()?,
            timestamp_us: needed(TIMESTAMP, values.time(TIMESTAMP))?,
            features: values.floats(FEATURES).unwrap_or_default().into_owned(),
            class: narrow(CLASS, values.unsigned(CLASS))?,
            confidence: needed(CONFIDENCE, values.float(CONFIDENCE))?,
        };
        record.request = request.unwrap_or_else(|| derived_request(&record, values.row()));
        Ok(record)
    }
}

fn id<T>(
    column: usize,
    text: &str,
    new: impl Fn(&str) -> Result<T, IdError>,
) -> Result<T, CellError> {
    new(text).map_err(|error| CellError { column, problem: CellProblem::id(text, error) })
}

fn narrow(column: usize, value: Option<u64>) -> Result<u32, CellError> {
    let value = needed(column, value)?;
    u32::try_from(value).map_err(|_| {
        let expected = ColumnKind::Unsigned32.expected();
        CellError { column, problem: CellProblem::value(value.to_string(), expected) }
    })
}

/// The id of a row that names none: XXH3-128 of its values and of its number in the file, so that
/// reading a file twice gives the same ids and two equal rows of one file get two.
fn derived_request(record: &PredictionRecord, row: u64) -> RequestId {
    let mut hash = Xxh3::new();
    let user = record.user.as_ref().map_or("", UserId::as_str);
    for text in [record.model.as_str(), user] {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.update(&record.version.0.to_le_bytes());
    hash.update(&record.timestamp_us.to_le_bytes());
    hash.update(&record.class.to_le_bytes());
    hash.update(&record.confidence.to_le_bytes());
    for feature in &record.features {
        hash.update(&feature.to_le_bytes());
    }
    hash.update(&row.to_le_bytes());
    RequestId(hash.digest128())
}
