//! Owns the part of the store's face that lists the months that are kept.
//!
//! Refuses to know how rows lie in a file. Bound: one entry per month.

use std::path::PathBuf;

use super::Store;
use crate::error::StoreError;

/// A month that has a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMonth {
    /// The month, as YYYYMM.
    pub month: String,
    /// Rows in the file; those of the month that are in the log only are not among them.
    pub rows: u64,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// The file.
    pub path: PathBuf,
}

impl Store {
    /// The months that have a file, newest first, with exact counts from their figures.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a figure is damaged.
    pub fn months(&self) -> Result<Vec<StoredMonth>, StoreError> {
        let files = self.core.files.between(i64::MIN, i64::MAX);
        let stored = files.iter().map(|(month, file)| {
            let snapshot = file.snapshot()?;
            let rows = snapshot.rows()?;
            let (bytes, path) = (file.file.bytes(), file.file.path());
            Ok(StoredMonth { month: month.to_string(), rows, bytes, path })
        });
        stored.collect()
    }
}
