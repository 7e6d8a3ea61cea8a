//! Owns redb's storage on a file that is reached through io_uring.
//!
//! redb writes page by page in the order of a hash. Writes are therefore held back until redb asks
//! for a sync and then go to the disk sorted, merged and with the sync in one submission.
//! Only one process may have the file open, because pages are held back in memory: of redb's locks
//! those on the whole file are offered, which is what redb's plain backend conflicts with.
//! Refuses to know what is in the pages. Bound: one operation at a time per file; the memory of
//! `DeferredFile`, and the pool of `DirectFile`.

mod choice;
mod deferred_file;
mod dirty_pages;
mod disk;
mod read_ahead;
mod trial;

use std::fs::OpenOptions;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use redb::backends::FileBackend;
use redb::{BackendError, Database, StorageBackend};
use truststram_machine::ring::{BLOCK_BYTES, DirectFile, SyncBy};

pub use choice::{BackendChoice, choose_backend};
pub use disk::RingDisk;
pub use trial::StoreIo;
#[doc(hidden)]
pub use trial::Trial;

use deferred_file::DeferredFile;

/// The file that a probe writes and removes.
const PROBE_FILE: &str = ".io-probe";
/// By `benches/store/backends.rs`, which prints both ways: on the machine where this was chosen, a
/// commit with a linked sync took up to a fifth longer while syncs took a quarter of a millisecond,
/// and about half as long while they took some; and `auto` chose io_uring only in the second case.
const SYNC_BY: SyncBy = SyncBy::Link;

/// Opens or creates a database through io_uring, with a page cache of the given bytes. Where
/// io_uring is refused the error is of kind `Unsupported` and has a `RingRefusal` inside.
pub(crate) fn open_ring_database(path: &Path, cache_bytes: usize) -> Result<Database, redb::Error> {
    open_synced_database(path, cache_bytes, SYNC_BY)
}

fn open_synced_database(
    path: &Path,
    cache_bytes: usize,
    sync_by: SyncBy,
) -> Result<Database, redb::Error> {
    let storage = RingStorage::open(path, sync_by)?;
    Ok(Database::builder().set_cache_size(cache_bytes).create_with_backend(storage)?)
}

/// Tries a file in `directory` through io_uring and says whether it bypasses the page cache.
///
/// # Errors
/// `Unsupported` with a `RingRefusal` inside where io_uring is refused, `InvalidData` when other
/// bytes come back, or what the kernel said about the file.
pub fn probe_ring_storage(directory: &Path) -> io::Result<bool> {
    let path = directory.join(PROBE_FILE);
    let outcome = probe_file(&path);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => outcome.and(Err(error)),
        _ => outcome,
    }
}

fn probe_file(path: &Path) -> io::Result<bool> {
    let mut file = DirectFile::open(path, SYNC_BY)?;
    let written: Vec<u8> = (0..2 * BLOCK_BYTES).map(|at| (at % 251) as u8).collect();
    file.set_length(written.len() as u64)?;
    file.write_pages_and_sync(&[(0, &written)])?;
    let mut read = vec![0; written.len()];
    file.read_at(&mut read, 0)?;
    if read == written { Ok(file.is_direct()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// A database file reached through io_uring.
#[derive(Debug)]
pub struct RingStorage {
    file: Mutex<DeferredFile>,
    /// redb's own way to the same file, for its locks.
    locks: FileBackend,
}

impl RingStorage {
    /// Opens the file at `path`, or creates it empty.
    ///
    /// # Errors
    /// `Unsupported` with a `RingRefusal` inside where io_uring is refused, or what the kernel said
    /// about the file.
    pub fn open(path: &Path, sync_by: SyncBy) -> io::Result<Self> {
        let file = DirectFile::open(path, sync_by)?;
        let locked = OpenOptions::new().read(true).write(true).open(path)?;
        let locks = FileBackend::new(locked).map_err(io::Error::other)?;
        Ok(Self { file: Mutex::new(DeferredFile::new(Box::new(file))), locks })
    }

    fn file(&self) -> io::Result<MutexGuard<'_, DeferredFile>> {
        // What a panic left half done must not reach the disk.
        self.file.lock().map_err(|_| io::Error::other("a panic interrupted the use of the file"))
    }

    /// Takes a lock on the whole file; redb falls back to that when a part is refused.
    fn lock(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
        lock: impl FnOnce(&FileBackend) -> Result<bool, BackendError>,
    ) -> Result<bool, BackendError> {
        check_whole(start, end)?;
        let is_locked = lock(&self.locks)?;
        if is_locked {
            // The process that held it before may have changed the file's length.
            self.file().map_err(BackendError::Io)?.forget_length();
        }
        Ok(is_locked)
    }
}

fn check_whole(start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
    match (start, end) {
        (Bound::Unbounded | Bound::Included(0), Bound::Unbounded) => Ok(()),
        _ => Err(BackendError::Unsupported),
    }
}

impl StorageBackend for RingStorage {
    fn len(&self) -> io::Result<u64> {
        self.file()?.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file()?.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.set_length(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file()?.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file()?.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        // The locks go whether or not the last pages reach the disk.
        let written = self.file().and_then(|mut file| file.close());
        written.and(self.locks.close())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.lock(start, end, |locks| locks.try_lock_range(start, end))
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.lock(start, end, |locks| locks.try_lock_shared_range(start, end))
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        let lock = |locks: &FileBackend| locks.lock_range(start, end).map(|()| true);
        self.lock(start, end, lock).map(drop)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        let lock = |locks: &FileBackend| locks.lock_shared_range(start, end).map(|()| true);
        self.lock(start, end, lock).map(drop)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        check_whole(start, end)?;
        self.locks.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        check_whole(start, end)?;
        self.locks.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests;
