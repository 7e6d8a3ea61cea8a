//! Owns what is asked of data sets: rows to train on, by name.
//!
//! Refuses to know how rows are kept. A body is read on the thread that appends, so that a large
//! one holds up no network thread. Bound: a body, or a page of rows.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;

use super::Failure;
use crate::problem::Problem;

/// A data set and what it adds up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// How many features every row has; 0 where rows have texts.
    pub feature_count: u32,
    /// Whether its rows have texts instead of features.
    pub is_of_texts: bool,
    /// What the rows are before compression, in bytes.
    pub raw_bytes: u64,
    /// What they are as stored, in bytes.
    pub stored_bytes: u64,
    /// When the oldest row was made, microseconds UTC.
    pub oldest_us: Option<i64>,
    /// When the newest row was made, microseconds UTC.
    pub newest_us: Option<i64>,
    /// How many rows have each label.
    pub labels: BTreeMap<String, u64>,
    /// How many rows have a label beyond those that are counted each.
    pub other_labels: u64,
    /// How many rows have no label.
    pub unlabelled: u64,
}

/// A row to append.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewRow {
    /// The input; every value is finite. None where there is a text.
    pub features: Vec<f32>,
    /// The input of a data set of texts.
    pub text: Option<String>,
    /// The right answer, where it is known.
    pub label: Option<String>,
    /// The text of a JSON object, `{}` for nothing.
    pub metadata_json: String,
}

/// A row as it is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DatasetRow {
    /// Its place, counted from 0.
    pub id: u64,
    /// When it was appended, microseconds UTC.
    pub created_us: i64,
    /// The row.
    pub row: NewRow,
}

/// A page of rows, by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DatasetRows {
    /// The rows.
    pub rows: Vec<DatasetRow>,
    /// How many rows the data set has in all.
    pub row_count: u64,
    /// The id that the next page starts with, if there is one.
    pub next: Option<u64>,
}

/// What was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The id of the first row; the others follow one by one.
    pub first_id: u64,
    /// How many.
    pub rows: u64,
}

/// Reads the rows out of a body.
pub type RowReader = Box<dyn FnOnce() -> Result<Vec<NewRow>, Problem> + Send>;

/// Why something cannot be done with a data set.
#[derive(Clone, Debug, PartialEq)]
pub enum DatasetFailure {
    /// This is no name of a data set.
    Name(String),
    /// There is none of this name.
    Unknown(String),
    /// The body cannot be read.
    Body(Box<Problem>),
    /// A row is not acceptable; none is appended.
    Row {
        /// Its place in the body, counted from 0.
        row: usize,
        /// The field of it.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Anything else.
    Failure(Failure),
}

impl From<Failure> for DatasetFailure {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// The data sets as the API sees them.
pub trait Datasets: Send + Sync {
    /// All of them, by name.
    fn list(&self) -> BoxFuture<'static, Result<Vec<Dataset>, DatasetFailure>>;
    /// Reads a body and appends its rows, all or none; ends once they survive a power loss.
    fn append(
        &self,
        name: String,
        rows: RowReader,
    ) -> BoxFuture<'static, Result<Appended, DatasetFailure>>;
    /// Rows from an id on, at most `limit`; fewer where they are large.
    fn rows(
        &self,
        name: String,
        from_id: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<DatasetRows, DatasetFailure>>;
    /// Removes a data set and ends with what it was.
    fn remove(&self, name: String) -> BoxFuture<'static, Result<Dataset, DatasetFailure>>;
}
