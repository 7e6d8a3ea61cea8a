//! Owns the seam to the disk: what the store does with files, and the plain way to do it.
//!
//! Everything that must survive a crash goes through [`Disk`], so that a test can put a simulated
//! disk below the whole store and lose power at any operation.
//! Refuses to know what files hold. Bound: one open handle per file.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

/// One open file. Offsets and lengths are in bytes.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Its length.
    fn length(&self) -> io::Result<u64>;

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`. It may be lost until [`DiskFile::sync`] returns.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts the file, or makes it longer with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Returns when everything written before is on stable storage.
    ///
    /// # Errors
    /// Nobody knows then what is; writing the same bytes again and syncing again is the only way
    /// to be sure.
    fn sync(&self) -> io::Result<()>;

    /// Writes and syncs.
    fn write_and_sync(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write(offset, data)?;
        self.sync()
    }
}

/// A disk with directories.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file for reading and writing, and creates it if need be.
    ///
    /// # Errors
    /// `WouldBlock` if another handle has it.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading; others may have it open.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Whether a file is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Creates a directory and those above it; durable when it returns.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, sorted; those that are no text are left out.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Gives a file another name, replacing what has it. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Forgets what of a file is in memory and said to be on the disk already. After a failed sync
    /// that may be all there is of it, and only a later reading tells.
    fn drop_cached(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// The size of a file; 0 if it is not there.
    fn bytes(&self, path: &Path) -> u64;
    /// A number that is another one after the file was written to; `None` where the disk cannot
    /// tell.
    fn stamp(&self, _path: &Path) -> Option<u64> {
        None
    }
}

/// A file that was written to more lately than this has no stamp.
const STAMP_AGE_MIN: Duration = Duration::from_secs(1);

/// The host's file system.
#[derive(Clone, Copy, Debug)]
pub struct HostDisk;

impl Disk for HostDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(HostFile::open(path)?))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(HostFile { file: File::open(path)? }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if path.is_dir() {
            // Whoever made it may have failed at this; a parent of others need not be ours to read.
            let _ = self.sync_dir(parent);
            return Ok(());
        }
        if !parent.is_dir() {
            self.create_dir(parent)?;
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        self.sync_dir(parent)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn drop_cached(&self, path: &Path) -> io::Result<()> {
        truststram_machine::drop_cached_pages(&File::open(path)?)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn bytes(&self, path: &Path) -> u64 {
        path.metadata().map_or(0, |metadata| metadata.len())
    }

    fn stamp(&self, path: &Path) -> Option<u64> {
        let metadata = path.metadata().ok()?;
        // Times are kept in steps: another writing in the same step would leave them as they are.
        if metadata.modified().ok()?.elapsed().ok()? < STAMP_AGE_MIN {
            return None;
        }
        let numbers = [
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            metadata.mtime().cast_unsigned(),
            metadata.mtime_nsec().cast_unsigned(),
            metadata.ctime().cast_unsigned(),
            metadata.ctime_nsec().cast_unsigned(),
        ];
        Some(xxh3_64(numbers.map(u64::to_le_bytes).as_flattened()))
    }
}

/// A file of the host, locked while it is open.
#[derive(Debug)]
pub(crate) struct HostFile {
    file: File,
}

impl HostFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Self { file })
    }
}

impl DiskFile for HostFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
