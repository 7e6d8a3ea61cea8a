//! Owns the set of month files: which exist, where each is, which one a month's rows go to.
//!
//! A month's file is in the directory of predictions, or in that of a tier for months of its age
//! (what tablespaces were). Where two files of a month are found, a move was cut off: the one that
//! it began with is complete and is kept.
//! Refuses to know what is in them. Bound: one open file per month that has rows; the newest has
//! the configured page cache, the others a small one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use truststram_base::Kind;

use crate::database_file::UNFINISHED_SUFFIX;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::month::Month;
use crate::month_file::{MonthFile, NEXT_SEQUENCE};
use crate::options::{OLD_FILE_CACHE_BYTES, StoreOptions};

/// What is noted of a file that cannot be asked.
const DAMAGED: u64 = u64::MAX;

/// All month files of a store.
pub(crate) struct MonthFiles {
    directory: PathBuf,
    cache_bytes: usize,
    disk: Arc<dyn Disk>,
    files: RwLock<BTreeMap<Month, Arc<MonthFile>>>,
    /// What each file has at least, by its month's number.
    next_sequences: Mutex<BTreeMap<u32, u64>>,
    drops: AtomicU64,
}

impl MonthFiles {
    /// Creates the directories if need be, lists the files in them and removes what was not
    /// finished.
    pub(crate) fn open(
        directory: PathBuf,
        options: &StoreOptions,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, StoreError> {
        let this = Self {
            directory: directory.clone(),
            cache_bytes: options.cache_bytes,
            disk: Arc::clone(&disk),
            files: RwLock::default(),
            next_sequences: Mutex::default(),
            drops: AtomicU64::new(0),
        };
        let mut found: BTreeMap<Month, PathBuf> = BTreeMap::new();
        let tiers = options.tiers.iter().map(|tier| tier.directory.clone());
        for directory in [directory].into_iter().chain(tiers) {
            let fail = |action| {
                let path = directory.clone();
                move |source| StoreError::Io { action, path, source }
            };
            disk.create_dir(&directory).map_err(fail("create"))?;
            for name in disk.list(&directory).map_err(fail("list"))? {
                let path = directory.join(&name);
                if name.ends_with(UNFINISHED_SUFFIX) {
                    disk.remove(&path).map_err(fail("remove an unfinished file in"))?;
                } else if let Some(month) = Month::from_file_name(&name) {
                    match found.entry(month) {
                        Entry::Vacant(place) => drop(place.insert(path)),
                        Entry::Occupied(_) => {
                            disk.remove(&path).map_err(fail("remove a second file in"))?;
                        }
                    }
                }
            }
        }
        let newest = found.keys().next_back().copied();
        let mut files = this.files.write().unwrap_or_else(PoisonError::into_inner);
        for (month, path) in found {
            let is_newest = Some(month) == newest;
            let cache_bytes = if is_newest { options.cache_bytes } else { OLD_FILE_CACHE_BYTES };
            files.insert(month, Arc::new(MonthFile::new(path, cache_bytes, Arc::clone(&disk))));
        }
        drop(files);
        Ok(this)
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
            Arc::new(MonthFile::new(path, cache_bytes, Arc::clone(&self.disk)))
        });
        Arc::clone(file)
    }

    /// The files that have rows, from the month of `since_us` to that of `until_us`, newest month
    /// first. One that could not be created yet is not among them.
    pub(crate) fn between(&self, since_us: i64, until_us: i64) -> Vec<(Month, Arc<MonthFile>)> {
        let (first, last) = (Month::of(since_us), Month::of(until_us));
        let known = self.next_sequences.lock().unwrap_or_else(PoisonError::into_inner);
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = files.iter().filter(|&(&month, _)| {
            first <= month
                && month <= last
                && known.get(&month.number()).is_some_and(|&next_sequence| next_sequence > 0)
        });
        wanted.rev().map(|(&month, file)| (month, Arc::clone(file))).collect()
    }

    /// Every file, newest month first.
    pub(crate) fn all(&self) -> Vec<(Month, Arc<MonthFile>)> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files.iter().rev().map(|(&month, file)| (month, Arc::clone(file))).collect()
    }

    /// Takes a month out; readers that have it go on until they are done.
    pub(crate) fn take(&self, month: Month) -> Option<Arc<MonthFile>> {
        self.drops.fetch_add(1, Ordering::AcqRel);
        self.next_sequences.lock().unwrap_or_else(PoisonError::into_inner).remove(&month.number());
        self.files.write().unwrap_or_else(PoisonError::into_inner).remove(&month)
    }

    /// Asks each file up to which sequence it is complete, and leaves the files as they are where
    /// it can. Returns a number above every sequence in any file. With `may_skip`, a damaged file
    /// that is not the newest keeps nobody from starting: whoever asks for its month is told.
    pub(crate) fn peek_next_sequence(&self, may_skip: bool) -> Result<u64, StoreError> {
        let mut highest = 0;
        for (at, (month, file)) in self.all().into_iter().enumerate() {
            match file.file.peek_number(NEXT_SEQUENCE) {
                Ok(next_sequence) => {
                    let next_sequence = next_sequence.unwrap_or(0);
                    self.note(month, next_sequence);
                    highest = highest.max(next_sequence);
                }
                Err(error) if may_skip && at > 0 && error.kind() == Kind::Corrupt => {
                    tracing::error!(%month, %error, "a month is damaged; restore it from a backup");
                    self.note(month, DAMAGED);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(highest)
    }

    /// Notes up to which sequence a file is complete.
    pub(crate) fn note(&self, month: Month, next_sequence: u64) {
        let mut known = self.next_sequences.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(month.number(), next_sequence);
    }

    /// Up to which sequence each file is complete, by its month's number.
    pub(crate) fn next_sequences(&self) -> Vec<(u32, u64)> {
        let known = self.next_sequences.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.iter().map(|(&month, &next_sequence)| (month, next_sequence));
        known.filter(|&(_, next_sequence)| next_sequence != DAMAGED).collect()
    }

    /// How many months were taken out.
    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::Acquire)
    }

    /// Size of all files in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.all().iter().map(|(_, file)| file.file.bytes()).sum()
    }

    /// Closes every file; the first error is reported after all were tried.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let results: Vec<_> = self.all().iter().map(|(_, file)| file.file.close()).collect();
        results.into_iter().collect()
    }
}
