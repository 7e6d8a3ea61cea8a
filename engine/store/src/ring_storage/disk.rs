//! Owns the disk on which month files are reached through io_uring, and everything else as usual.
//!
//! Each such file has memory of its own that is registered with the kernel, so the small databases
//! and the log, which a linked sync does not make faster, stay with plain system calls.
//! Refuses to know what is in the files. Bound: as `RingStorage`, per open file.

use std::io;
use std::ops::Bound;
use std::path::Path;

use redb::{BackendError, StorageBackend};

use super::{RingStorage, SYNC_BY};
use crate::disk::{Disk, DiskFile, HostDisk};

/// The host's file system, with month files through io_uring.
#[derive(Clone, Copy, Debug)]
pub struct RingDisk;

#[derive(Debug)]
struct RingFile {
    storage: RingStorage,
}

impl DiskFile for RingFile {
    fn length(&self) -> io::Result<u64> {
        self.storage.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.storage.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.storage.write(offset, data)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.storage.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.storage.sync_data()
    }
}

impl Disk for RingDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("pred-") {
            return HostDisk.open(path);
        }
        let storage = RingStorage::open(path, SYNC_BY)?;
        match storage.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
            Ok(true) => Ok(Box::new(RingFile { storage })),
            Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
            Err(BackendError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        HostDisk.open_to_read(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        HostDisk.exists(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        HostDisk.create_dir(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        HostDisk.list(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        HostDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        HostDisk.remove(path)
    }

    fn drop_cached(&self, path: &Path) -> io::Result<()> {
        HostDisk.drop_cached(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        HostDisk.sync_dir(directory)
    }

    fn bytes(&self, path: &Path) -> u64 {
        HostDisk.bytes(path)
    }

    fn stamp(&self, path: &Path) -> Option<u64> {
        HostDisk.stamp(path)
    }
}
