//! Owns the set of month files: which exist, which one a month's rows go to.
//!
//! Refuses to know what is in them. Bound: one open file per month that has rows; the newest has
//! the configured page cache, the others a small one.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::database_file::OpenDatabase;
use crate::error::StoreError;
use crate::month::Month;
use crate::month_file::MonthFile;
use crate::options::OLD_FILE_CACHE_BYTES;

/// All month files of a store.
pub(crate) struct MonthFiles {
    directory: PathBuf,
    cache_bytes: usize,
    open: OpenDatabase,
    files: RwLock<BTreeMap<Month, Arc<MonthFile>>>,
}

impl MonthFiles {
    /// Creates the directory if need be and lists the files in it.
    pub(crate) fn open(
        directory: PathBuf,
        cache_bytes: usize,
        open: OpenDatabase,
    ) -> Result<Self, StoreError> {
        let fail = |action| {
            let path = directory.clone();
            move |source| StoreError::Io { action, path, source }
        };
        fs::create_dir_all(&directory).map_err(fail("create"))?;
        let mut months = Vec::new();
        for entry in fs::read_dir(&directory).map_err(fail("list"))? {
            let name = entry.map_err(fail("list"))?.file_name();
            months.extend(name.to_str().and_then(Month::from_file_name));
        }
        months.sort_unstable();
        let files = Self { directory, cache_bytes, open, files: RwLock::default() };
        for month in months.into_iter().rev() {
            files.month(month);
        }
        Ok(files)
    }

    /// The file of `month`; it is created at its first use.
    pub(crate) fn month(&self, month: Month) -> Arc<MonthFile> {
        if let Some(file) = self.files.read().unwrap_or_else(PoisonError::into_inner).get(&month) {
            return Arc::clone(file);
        }
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        let is_newest = files.last_key_value().is_none_or(|(&newest, _)| newest < month);
        let cache_bytes = if is_newest { self.cache_bytes } else { OLD_FILE_CACHE_BYTES };
        let file = files.entry(month).or_insert_with(|| {
            let path = self.directory.join(month.file_name());
            Arc::new(MonthFile::new(path, cache_bytes, Arc::clone(&self.open)))
        });
        Arc::clone(file)
    }

    /// The files from the month of `since_us` to the month of `until_us`, newest month first.
    pub(crate) fn between(&self, since_us: i64, until_us: i64) -> Vec<Arc<MonthFile>> {
        let (first, last) = (Month::of(since_us), Month::of(until_us));
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = files.iter().filter(|&(&month, _)| first <= month && month <= last);
        wanted.rev().map(|(_, file)| Arc::clone(file)).collect()
    }

    /// Every file, newest month first.
    pub(crate) fn all(&self) -> Vec<Arc<MonthFile>> {
        self.between(i64::MIN, i64::MAX)
    }

    /// A number above every sequence in any file; opens all files.
    pub(crate) fn next_sequence(&self) -> Result<u64, StoreError> {
        let files = self.all();
        files.iter().try_fold(0, |next, file| Ok(next.max(file.next_sequence()?)))
    }

    /// Closes every file; the first error is reported after all were tried.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let results: Vec<_> = self.all().iter().map(|file| file.file.close()).collect();
        results.into_iter().collect()
    }
}
