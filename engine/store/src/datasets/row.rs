//! Owns a row to train on and what it must be like to be kept.
//!
//! Refuses to know how rows are kept. Bound: the constants here, in `base::limits` and in
//! [`crate::containment`].

use serde::{Deserialize, Serialize};
use thiserror::Error;
use truststram_base::limits::{FEATURE_COUNT_MAX, TEXT_BYTES_MAX};

use super::DatasetName;
use crate::containment::{Json, JsonProblem};
use crate::error::StoreError;

/// Longest label, in bytes.
pub const LABEL_BYTES_MAX: usize = 256;

/// One row to train on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingRow {
    /// Its place in the data set, counted from 0. Appending sets it and does not look at it.
    pub id: u64,
    /// When it was made, microseconds UTC.
    pub created_us: i64,
    /// The input, 1 to [`FEATURE_COUNT_MAX`] numbers, as many as every other row of the data set
    /// has; none where there is a text.
    pub features: Vec<f32>,
    /// The input of a data set of texts, 1 to [`TEXT_BYTES_MAX`] bytes.
    pub text: Option<String>,
    /// The right answer, where it is known.
    pub label: Option<String>,
    /// What else is known of it: the text of a JSON object, `{}` for nothing.
    pub metadata_json: String,
}

impl TrainingRow {
    /// The bytes of its input.
    pub fn input_bytes(&self) -> usize {
        size_of_val(self.features.as_slice()) + self.text.as_ref().map_or(0, String::len)
    }
}

/// Why a row is not appended.
#[derive(Debug, Error)]
pub enum RowProblem {
    /// The row has another number of features than the data set.
    #[error("has {found} features where the data set has {expected}")]
    FeatureCount {
        /// Features of the row.
        found: usize,
        /// Features of the data set.
        expected: usize,
    },
    /// The row has a text, and the data set features.
    #[error("has a text where the data set has features; append texts to a data set of their own")]
    NotOfTexts,
    /// The row has features, and the data set texts.
    #[error(
        "has features where the data set has texts; append features to a data set of their own"
    )]
    NotOfFeatures,
    /// The row has features and a text.
    #[error("has features and a text; a row has one of them")]
    Both,
    /// The text is empty or too long.
    #[error("has a text of {found} bytes, not 1 to {TEXT_BYTES_MAX}")]
    Text {
        /// Its length.
        found: usize,
    },
    /// The row has no features or too many.
    #[error("has {found} features, not 1 to {FEATURE_COUNT_MAX}")]
    FeatureLimit {
        /// Features of the row.
        found: usize,
    },
    /// The label is too long.
    #[error("has a label longer than {LABEL_BYTES_MAX} bytes")]
    Label,
    /// The metadata is no JSON object within the bounds.
    #[error("its metadata {0}")]
    Metadata(JsonProblem),
}

/// Checks what can be checked without the data set.
pub(super) fn check(name: &DatasetName, rows: &[TrainingRow]) -> Result<(), StoreError> {
    rows.iter()
        .enumerate()
        .try_for_each(|(at, row)| check_one(row).map_err(|problem| refused(name, at, problem)))
}

/// The error of the row at place `row`.
pub(super) fn refused(name: &DatasetName, row: usize, problem: RowProblem) -> StoreError {
    StoreError::DatasetRow { name: name.clone(), row, problem }
}

fn check_one(row: &TrainingRow) -> Result<(), RowProblem> {
    let found = row.features.len();
    match row.text.as_ref().map(String::len) {
        Some(_) if found > 0 => return Err(RowProblem::Both),
        Some(found) if !(1..=TEXT_BYTES_MAX).contains(&found) => {
            return Err(RowProblem::Text { found });
        }
        None if !(1..=FEATURE_COUNT_MAX).contains(&found) => {
            return Err(RowProblem::FeatureLimit { found });
        }
        _ => {}
    }
    if row.label.as_ref().is_some_and(|label| label.len() > LABEL_BYTES_MAX) {
        return Err(RowProblem::Label);
    }
    // Most rows have none, and millions of them are appended.
    if row.metadata_json != "{}" {
        Json::parse_object(&row.metadata_json).map_err(RowProblem::Metadata)?;
    }
    Ok(())
}
