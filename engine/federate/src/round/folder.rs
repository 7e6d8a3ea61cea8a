//! Owns the bodies and models of a federation as files of a folder.
//!
//! ```text
//! arriving/NAME              bodies that nobody has judged; none outlives a start
//! updates/TASK.safetensors   bodies that were accepted, or that a crash has left behind
//! models/VERSION.bin         header, parameters, moments; little endian
//!   0   8   "TSFLMDL1"
//!   8   8   number of parameters
//!   16  8   number of first moments, 0 or as many
//!   24  8   number of second moments
//!   32  4n  f32 of all three, then SHA-256 of everything before
//! ```
//!
//! A file is written under a name of its own, synced, renamed, and its folder synced, so that a
//! name stands for all of a file or for none. Refuses to know records. Bound: one model in memory
//! at a time, and a copy while it is written.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use truststram_base::Kind;

use super::ports::{Files, Model};
use crate::aggregate::ServerState;
use crate::codec::{Received, Schema};
use crate::error::FederateError;

const MAGIC: [u8; 8] = *b"TSFLMDL1";
const HEADER_BYTES: usize = 32;
const SHA256_BYTES: usize = 32;

/// The files of a federation.
#[derive(Debug)]
pub struct Folder {
    arriving: PathBuf,
    updates: PathBuf,
    models: PathBuf,
}

impl Folder {
    /// Takes a folder, which is made if it is not there. What was arriving is removed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path) -> Result<Self, FederateError> {
        let [arriving, updates, models] =
            ["arriving", "updates", "models"].map(|name| path.join(name));
        for folder in [&arriving, &updates, &models] {
            fs::create_dir_all(folder)?;
        }
        // Else a loss of power may take the folders with all that is synced in them.
        File::open(path)?.sync_all()?;
        remove(&arriving, |_| false);
        Ok(Self { arriving, updates, models })
    }

    /// Where a body is to be written before it is judged; on the same file system.
    pub fn arriving(&self, name: &str) -> PathBuf {
        self.arriving.join(name)
    }

    fn body(&self, task: u64) -> PathBuf {
        self.updates.join(format!("{task}.safetensors"))
    }

    fn version(&self, version: u64) -> PathBuf {
        self.models.join(format!("{version}.bin"))
    }
}

/// Gives a synced file its name, durably.
fn settle(from: &Path, to: &Path, folder: &Path) -> Result<(), FederateError> {
    fs::rename(from, to)?;
    Ok(File::open(folder)?.sync_all()?)
}

/// Removes the files of a folder but those whose number is kept.
fn remove(folder: &Path, is_kept: impl Fn(u64) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse().ok());
        if !number.is_some_and(&is_kept) {
            // What cannot be removed now is met again by the next call.
            let _ = fs::remove_file(path);
        }
    }
}

impl Files for Folder {
    /// A file from [`Folder::arriving`].
    type Upload = PathBuf;

    fn received(&self, upload: &PathBuf, schema: &Schema) -> Result<Received, FederateError> {
        Received::of_file(File::open(upload)?, schema)
    }

    fn keep(&mut self, task: u64, upload: PathBuf) -> Result<(), FederateError> {
        File::open(&upload)?.sync_all()?;
        settle(&upload, &self.body(task), &self.updates)
    }

    fn update(&self, task: u64, schema: &Schema) -> Result<Received, FederateError> {
        Received::of_file(File::open(self.body(task))?, schema)
    }

    fn put_model(&mut self, version: u64, model: &Model) -> Result<(), FederateError> {
        let Model { values, state: ServerState { first, second } } = model;
        let numbers = values.iter().chain(first).chain(second);
        let mut bytes = MAGIC.to_vec();
        for count in [values.len(), first.len(), second.len()] {
            bytes.extend_from_slice(&(count as u64).to_le_bytes());
        }
        bytes.extend(numbers.flat_map(|value| value.to_le_bytes()));
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        let temporary = self.models.join("next.tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        settle(&temporary, &self.version(version), &self.models)
    }

    fn model(&self, version: u64) -> Result<Model, FederateError> {
        let path = self.version(version);
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => FederateError::Port {
                message: format!("version {version} of the model is not kept"),
                kind: Kind::NotFound,
            },
            _ => error.into(),
        })?;
        read_model(&bytes).ok_or_else(|| FederateError::Port {
            message: format!("{} is damaged; restore it from a backup", path.display()),
            kind: Kind::Corrupt,
        })
    }

    fn tidy(&mut self, tasks: &[u64], versions: RangeInclusive<u64>) {
        remove(&self.updates, |task| tasks.contains(&task));
        remove(&self.models, |version| versions.contains(&version));
    }
}

/// The model in these bytes, if they are all that was written.
fn read_model(bytes: &[u8]) -> Option<Model> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(SHA256_BYTES)?)?;
    let (header, numbers) = content.split_at_checked(HEADER_BYTES)?;
    if Sha256::digest(content)[..] != *digest || header[..8] != MAGIC {
        return None;
    }
    let mut numbers = numbers.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let counts = header[8..].as_chunks::<8>().0.iter().map(|count| u64::from_le_bytes(*count));
    let mut parts =
        counts.map(|count| -> Vec<f32> { numbers.by_ref().take(count as usize).collect() });
    let (values, first, second) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Model { values, state: ServerState { first, second } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Encoding, Head, Kind as Sent, SchemaTensor, encode};

    #[test]
    fn files_are_whole_or_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(directory.path()).unwrap();
        let state = ServerState { first: vec![0.5; 3], second: vec![] };
        let model = Model { values: vec![1.0, -2.0, 3.5], state };
        for version in 0..4 {
            folder.put_model(version, &model).unwrap();
        }
        assert_eq!(folder.model(3).unwrap(), model);
        let tensor = SchemaTensor { name: "w".into(), shape: vec![3] };
        let schema = Schema::new(vec![tensor]).unwrap();
        let head = Head { kind: Sent::Delta, base: 0, block: 256 };
        let body = encode(&[1.0, 2.0, 3.0], &schema, head, Encoding::DENSE).unwrap();
        for task in [1, 2] {
            let upload = folder.arriving(&format!("{task}"));
            fs::write(&upload, &body).unwrap();
            assert_eq!(folder.received(&upload, &schema).unwrap().head(), head);
            folder.keep(task, upload).unwrap();
        }
        fs::write(folder.arriving("2"), b"half").unwrap();
        folder.tidy(&[2], 2..=3);
        assert!(folder.arriving("2").exists(), "its client still sends");
        let mut folder = Folder::open(directory.path()).unwrap();
        folder.update(2, &schema).unwrap();
        assert!(!folder.arriving("2").exists());
        folder.update(1, &schema).unwrap_err();
        assert_eq!(folder.model(1).unwrap_err().kind(), Kind::NotFound);
        folder.put_model(3, &Model { values: vec![9.0; 3], ..Model::default() }).unwrap();
        assert_eq!(folder.model(3).unwrap().values, [9.0; 3]);

        let path = folder.version(2);
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert_eq!(read_model(&damaged), None, "{at}");
            assert_eq!(read_model(&bytes[..at]), None, "{at}");
        }
        fs::write(&path, &bytes[..20]).unwrap();
        assert_eq!(folder.model(2).unwrap_err().kind(), Kind::Corrupt);
    }
}
