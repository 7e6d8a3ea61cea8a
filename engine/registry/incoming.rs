//! Owns a model file while it arrives: its bytes in a file of no name that counts, their hash and
//! number.
//!
//! Refuses to know what is in it. Bound: [`MODEL_FILE_BYTES_MAX`] on disk, one chunk in memory; a
//! file that is not taken is removed, here or at the next start.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use truststram_base::limits::MODEL_FILE_BYTES_MAX;

use super::RegistryError;

/// Numbers the files of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The path of a file that has no place yet; goes with it.
pub struct Temporary(PathBuf);

impl Temporary {
    /// Takes the file at this path.
    pub fn of(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // One that has found its place is not there any more.
        let _ = fs::remove_file(&self.0);
    }
}

/// A model file that arrives.
pub struct Incoming {
    path: Temporary,
    file: File,
    hash: Sha256,
    bytes: u64,
}

/// A model file that is all there and on disk, and has no place yet.
pub struct Arrived {
    path: Temporary,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its size in bytes.
    pub bytes: u64,
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("models/.incoming")
}

/// Removes what an earlier process was sent and did not take.
pub fn sweep(data_dir: &Path) -> Result<(), RegistryError> {
    let folder = folder(data_dir);
    match fs::remove_dir_all(&folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RegistryError::File { action: "remove", path: folder, source })
        }
        _ => Ok(()),
    }
}

impl Incoming {
    /// An empty file.
    pub fn create(data_dir: &Path) -> Result<Self, RegistryError> {
        let folder = folder(data_dir);
        let fail = |action, path: &Path| {
            let path = path.to_owned();
            move |source| RegistryError::File { action, path, source }
        };
        fs::create_dir_all(&folder).map_err(fail("create", &folder))?;
        let path = folder.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::create(&path).map_err(fail("create", &path))?;
        let path = Temporary(path);
        Ok(Self { path, file, hash: Sha256::new(), bytes: 0 })
    }

    /// Adds what came.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), RegistryError> {
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        if self.bytes > MODEL_FILE_BYTES_MAX {
            return Err(RegistryError::TooLarge);
        }
        self.hash.update(chunk);
        self.file.write_all(chunk).map_err(|source| self.failed("write", source))
    }

    /// Ends the file and waits until the disk has it.
    pub fn finish(self) -> Result<Arrived, RegistryError> {
        self.file.sync_all().map_err(|source| self.failed("sync", source))?;
        let Self { path, hash, bytes, .. } = self;
        Ok(Arrived { path, sha256: hash.finalize().into(), bytes })
    }

    fn failed(&self, action: &'static str, source: io::Error) -> RegistryError {
        RegistryError::File { action, path: self.path.0.clone(), source }
    }
}

impl Arrived {
    /// A file of these bytes.
    pub fn of(data_dir: &Path, bytes: &[u8]) -> Result<Self, RegistryError> {
        let mut incoming = Incoming::create(data_dir)?;
        incoming.write(bytes)?;
        incoming.finish()
    }

    /// Gives the file its place, for good.
    pub fn place(&self, at: &Path) -> Result<(), RegistryError> {
        let fail =
            |action| move |source| RegistryError::File { action, path: at.to_owned(), source };
        let folder = at.parent().unwrap_or(at);
        fs::create_dir_all(folder).map_err(fail("create the folder of"))?;
        fs::rename(&self.path.0, at).map_err(fail("name"))?;
        // The names of the file and of the folders that may be new.
        for folder in folder.ancestors().take(3) {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(fail("sync the folder of"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[test]
    fn a_file_is_placed_whole_or_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let incoming = folder(directory.path());
        let mut file = Incoming::create(directory.path()).unwrap();
        file.write(b"ab").unwrap();
        file.write(b"c").unwrap();
        let arrived = file.finish().unwrap();
        let expected: [u8; 32] = Sha256::digest(b"abc").into();
        assert_eq!((arrived.bytes, arrived.sha256), (3, expected));
        let place = directory.path().join("models/m/1/model.onnx");
        arrived.place(&place).unwrap();
        drop(arrived);
        assert_eq!(fs::read(&place).unwrap(), b"abc");

        let mut given_up = Incoming::create(directory.path()).unwrap();
        given_up.write(b"half").unwrap();
        assert_eq!(files(&incoming), 1);
        drop(given_up);
        assert_eq!(files(&incoming), 0);
        fs::write(incoming.join("of a process that was killed"), b"half").unwrap();
        sweep(directory.path()).unwrap();
        sweep(directory.path()).unwrap();
        assert!(!incoming.exists() && place.exists());
    }
}
