//! Owns the promise that one process at a time uses a directory.
//!
//! The kernel holds the lock (flock), so it ends with the process however that ends; the text in
//! the file only tells people who holds it. Refuses to know what the directory holds. Bound: one
//! small file `LOCK`, which stays when the lock is gone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::MachineError;

const HOLDER_BYTES_MAX: u64 = 256;

/// The lock on a directory; dropping it lets the next process in.
#[derive(Debug)]
pub struct DirLock {
    /// Closing the file releases the lock.
    _file: File,
}

impl DirLock {
    /// Takes the lock of `dir` without waiting.
    ///
    /// # Errors
    /// [`MachineError::Locked`] when another process (or another [`DirLock`] of this one) holds
    /// it, [`MachineError::File`] when the directory does not exist or cannot be written.
    pub fn acquire(dir: &Path) -> Result<Self, MachineError> {
        let path = dir.join("LOCK");
        // The text must survive a failed attempt, so nothing is truncated before the lock is ours.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(MachineError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(MachineError::Locked { dir: dir.to_owned(), holder: holder(&file) });
            }
            Err(TryLockError::Error(source)) => {
                return Err(MachineError::file("lock", &path)(source));
            }
        }
        describe_holder(&mut file).map_err(MachineError::file("write", &path))?;
        Ok(Self { _file: file })
    }
}

fn describe_holder(file: &mut File) -> io::Result<()> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    file.set_len(0)?;
    writeln!(file, "pid {}\nlocked at Unix second {}", std::process::id(), started.as_secs())
}

/// The first line that the holder wrote; it may be about to write it.
fn holder(file: &File) -> String {
    let mut text = String::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    match text.lines().next() {
        Some(line) if read.is_ok() && !line.is_empty() => line.to_owned(),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use truststram_base::Kind;

    use super::*;

    #[test]
    fn a_second_lock_waits_for_the_end_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let first = DirLock::acquire(dir.path()).unwrap();
            for _ in 0..2 {
                let error = DirLock::acquire(dir.path()).unwrap_err();
                assert_eq!(error.kind(), Kind::Conflict);
                let holder = format!("is in use by pid {};", std::process::id());
                assert!(error.to_string().contains(&holder), "{error}");
            }
            drop(first);
        }
    }

    #[test]
    fn a_file_without_a_lock_locks_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("LOCK"), "pid 1\nleft by a process that was killed")
            .unwrap();
        let _lock = DirLock::acquire(dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("LOCK")).unwrap();
        assert!(text.starts_with(&format!("pid {}\n", std::process::id())), "{text}");
        assert!(!text.contains("killed"));
    }

    #[test]
    fn a_holder_that_wrote_nothing_is_still_reported() {
        let dir = tempfile::tempdir().unwrap();
        let silent = File::create(dir.path().join("LOCK")).unwrap();
        silent.lock().unwrap();
        let error = DirLock::acquire(dir.path()).unwrap_err();
        assert!(error.to_string().contains("in use by another process"), "{error}");
    }

    #[test]
    fn a_missing_directory_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let error = DirLock::acquire(&dir.path().join("missing")).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
    }
}
