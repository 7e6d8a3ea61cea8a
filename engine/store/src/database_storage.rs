//! Owns the step from a [`DiskFile`] to what redb wants below it.
//!
//! The file is locked as long as it is open, so that redb's own locks have nothing to add.
//! Refuses to know pages. Bound: none of its own.

use std::io;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use redb::{BackendError, StorageBackend};

use crate::disk::DiskFile;

/// A file below a redb database.
#[derive(Debug)]
pub(crate) struct DatabaseStorage {
    file: RwLock<Option<Box<dyn DiskFile>>>,
}

impl DatabaseStorage {
    pub(crate) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file: RwLock::new(Some(file)) }
    }

    fn with<T>(&self, operation: impl FnOnce(&dyn DiskFile) -> io::Result<T>) -> io::Result<T> {
        match &*self.file.read().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => operation(&**file),
            None => Err(io::Error::other("the database file is closed")),
        }
    }
}

impl StorageBackend for DatabaseStorage {
    fn len(&self) -> io::Result<u64> {
        self.with(|file| file.length())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|file| file.read(offset, out))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.with(|file| file.set_len(bytes))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|file| file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|file| file.write(offset, data))
    }

    /// Gives the handle and its lock back, also while somebody still holds the database.
    fn close(&self) -> io::Result<()> {
        self.file.write().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        whole_file(start, end).map(|()| true)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        whole_file(start, end).map(|()| true)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        whole_file(start, end)
    }
}

fn whole_file(start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
    match (start, end) {
        (Bound::Unbounded | Bound::Included(0), Bound::Unbounded) => Ok(()),
        _ => Err(BackendError::Unsupported),
    }
}
