//! Owns a body on its way to the disk: its bytes in a file that goes with it, their hash and number.
//!
//! Refuses to know what is in it. Bound: the bytes that it may have, one chunk in memory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use truststram_api::ports::FederatedFailure;
use truststram_base::Kind;

use crate::registry::incoming::Temporary;

/// Bytes that are hashed at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A body that arrives.
pub struct Arriving {
    path: Temporary,
    file: File,
    hash: Sha256,
    bytes: u64,
    bytes_max: u64,
}

/// A body that is all there. It goes with this unless it is renamed.
pub struct Arrived {
    /// Its file.
    pub path: Temporary,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

/// A failure of the file system.
pub fn disk(error: &std::io::Error) -> FederatedFailure {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull => Kind::NoSpace,
        _ => Kind::Internal,
    };
    FederatedFailure::new(kind, format!("a file of the federation: {error}"))
}

fn too_large(bytes_max: u64) -> FederatedFailure {
    let detail = format!("the body is larger than the {bytes_max} bytes that it may have");
    FederatedFailure::new(Kind::TooLarge, detail)
}

fn other_sum() -> FederatedFailure {
    let detail = "the body's SHA-256 is not the one that was signed; send it again";
    FederatedFailure::new(Kind::Invalid, detail)
}

impl Arriving {
    /// Begins with nothing.
    ///
    /// # Errors
    /// What the file system says; here and below.
    pub fn create(path: PathBuf, bytes_max: u64) -> Result<Self, FederatedFailure> {
        let file = File::create(&path).map_err(|error| disk(&error))?;
        Ok(Self { path: Temporary::of(path), file, hash: Sha256::new(), bytes: 0, bytes_max })
    }

    /// Adds a chunk.
    ///
    /// # Errors
    /// If it is too much.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), FederatedFailure> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        self.hash.update(chunk);
        self.file.write_all(chunk).map_err(|error| disk(&error))
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it is not what was signed.
    pub fn finish(self, expected: [u8; 32]) -> Result<Arrived, FederatedFailure> {
        let sha256: [u8; 32] = self.hash.finalize().into();
        match sha256 == expected {
            true => Ok(Arrived { path: self.path, sha256 }),
            false => Err(other_sum()),
        }
    }
}

/// A part that is added to a file, or leaves it as it was.
pub struct Adding {
    file: File,
    hash: Sha256,
    start: u64,
    end: u64,
    bytes_max: u64,
}

impl Adding {
    /// Begins at `start`.
    ///
    /// # Errors
    /// What the file system says; here and below.
    pub fn open(path: &PathBuf, start: u64, bytes_max: u64) -> Result<Self, FederatedFailure> {
        let opened = || {
            let mut file = OpenOptions::new().write(true).open(path)?;
            file.set_len(start)?;
            file.seek(SeekFrom::Start(start))?;
            Ok(file)
        };
        let file = opened().map_err(|error| disk(&error))?;
        Ok(Self { file, hash: Sha256::new(), start, end: start, bytes_max })
    }

    /// Adds a chunk.
    ///
    /// # Errors
    /// If it is too much.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), FederatedFailure> {
        self.end += chunk.len() as u64;
        if self.end > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        self.hash.update(chunk);
        self.file.write_all(chunk).map_err(|error| disk(&error))
    }

    /// Ends it; returns how much is there.
    ///
    /// # Errors
    /// If the part is not what was signed.
    pub fn finish(self, expected: [u8; 32]) -> Result<u64, FederatedFailure> {
        if self.hash.finalize()[..] == expected {
            return Ok(self.end);
        }
        self.file.set_len(self.start).map_err(|error| disk(&error))?;
        Err(other_sum())
    }
}

/// Takes a file of parts as a body.
///
/// # Errors
/// If it is not what was said when it began; it is removed then.
pub fn gathered(path: PathBuf, expected: [u8; 32]) -> Result<Arrived, FederatedFailure> {
    let path = Temporary::of(path);
    let hashed = || {
        let mut file = File::open(path.path())?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut hash = Sha256::new();
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hash.finalize().into()),
                count => hash.update(&buffer[..count]),
            }
        }
    };
    let sha256: [u8; 32] = hashed().map_err(|error: std::io::Error| disk(&error))?;
    if sha256 == expected { Ok(Arrived { path, sha256 }) } else { Err(other_sum()) }
}
