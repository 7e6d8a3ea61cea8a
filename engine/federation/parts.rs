//! Owns uploads in parts: files that outlive a connection and a restart, by task and checksum.
//!
//! Refuses to judge what they hold. Bound: one for each open task, of the size of an update.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use truststram_api::ports::FederatedFailure;
use truststram_base::Kind;
use truststram_federate::identity::hexadecimal;

use super::arriving::disk;

/// One upload.
struct Part {
    client: u32,
    path: PathBuf,
    sha256: [u8; 32],
    bytes: u64,
    offset: u64,
    /// Held by whoever writes.
    turn: Arc<Semaphore>,
}

/// All uploads in parts.
pub(super) struct Parts {
    folder: PathBuf,
    open: BTreeMap<u64, Part>,
}

/// The right to add to an upload.
pub struct Turn {
    /// Its file.
    pub path: PathBuf,
    /// What it is to have in the end.
    pub bytes: u64,
    _permit: OwnedSemaphorePermit,
}

/// An upload that is all there.
pub struct Gathered {
    /// Its file.
    pub path: PathBuf,
    /// What it is to hash to.
    pub sha256: [u8; 32],
}

fn unknown() -> FederatedFailure {
    FederatedFailure::new(Kind::NotFound, "the task has no upload; begin one")
}

fn elsewhere(offset: u64) -> FederatedFailure {
    let detail = format!("the upload is at {offset}; go on from there");
    FederatedFailure { offset: Some(offset), ..FederatedFailure::new(Kind::Conflict, detail) }
}

impl Parts {
    /// Takes the folder; files in it are taken up by who begins them again.
    pub fn open(folder: PathBuf) -> std::io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, open: BTreeMap::new() })
    }

    /// Begins an upload, or goes on with the same one; how much of it is there.
    pub fn begin(
        &mut self,
        (client, task): (u32, u64),
        bytes: u64,
        sha256: [u8; 32],
    ) -> Result<u64, FederatedFailure> {
        if let Some(part) = self.open.get(&task).filter(|part| part.sha256 == sha256) {
            return Ok(part.offset);
        }
        if let Some(other) = self.open.remove(&task) {
            // It is of no use to anybody.
            let _ = fs::remove_file(other.path);
        }
        let path = self.folder.join(format!("{task}-{}.part", hexadecimal(&sha256)));
        let opened = || -> std::io::Result<u64> {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            let there = file.metadata()?.len();
            if there > bytes {
                file.set_len(0)?;
            }
            Ok(if there > bytes { 0 } else { there })
        };
        let offset = opened().map_err(|error| disk(&error))?;
        let turn = Arc::new(Semaphore::new(1));
        self.open.insert(task, Part { client, path, sha256, bytes, offset, turn });
        Ok(offset)
    }

    fn of(&self, client: u32, task: u64) -> Result<&Part, FederatedFailure> {
        self.open.get(&task).filter(|part| part.client == client).ok_or_else(unknown)
    }

    /// How much of an upload is there.
    pub fn offset(&self, client: u32, task: u64) -> Result<u64, FederatedFailure> {
        Ok(self.of(client, task)?.offset)
    }

    /// The right to add to an upload at `offset`.
    pub fn turn(&self, client: u32, task: u64, offset: u64) -> Result<Turn, FederatedFailure> {
        let part = self.of(client, task)?;
        let busy = || FederatedFailure::new(Kind::Conflict, "a part of it is on its way already");
        let permit = part.turn.clone().try_acquire_owned().map_err(|_| busy())?;
        if offset != part.offset {
            return Err(elsewhere(part.offset));
        }
        Ok(Turn { path: part.path.clone(), bytes: part.bytes, _permit: permit })
    }

    /// Notes how much is there now.
    pub fn added(&mut self, task: u64, offset: u64) {
        if let Some(part) = self.open.get_mut(&task) {
            part.offset = offset;
        }
    }

    /// Takes an upload out that is all there.
    pub fn take(&mut self, client: u32, task: u64) -> Result<Gathered, FederatedFailure> {
        let part = self.of(client, task)?;
        if part.offset != part.bytes {
            return Err(elsewhere(part.offset));
        }
        let gathered = Gathered { path: part.path.clone(), sha256: part.sha256 };
        self.open.remove(&task);
        Ok(gathered)
    }

    /// Removes the uploads of all tasks but these.
    pub fn keep(&mut self, is_open: impl Fn(u64) -> bool) {
        self.open.retain(|task, _| is_open(*task));
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str());
            let task = name.and_then(|name| name.split_once('-')?.0.parse().ok());
            if !task.is_some_and(&is_open) {
                // What cannot be removed now is met again.
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_goes_on_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let mut parts = Parts::open(directory.path().to_owned()).unwrap();
        assert_eq!(parts.begin((1, 7), 10, [1; 32]).unwrap(), 0);
        assert_eq!(parts.turn(1, 7, 3).err().unwrap().offset, Some(0));
        parts.turn(2, 7, 0).err().unwrap();
        let turn = parts.turn(1, 7, 0).unwrap();
        assert_eq!(parts.turn(1, 7, 0).err().unwrap().kind, Kind::Conflict);
        fs::write(&turn.path, b"01234").unwrap();
        drop(turn);
        parts.added(7, 5);
        assert_eq!(parts.take(1, 7).err().unwrap().offset, Some(5));
        // After a restart.
        let mut parts = Parts::open(directory.path().to_owned()).unwrap();
        assert_eq!(parts.offset(1, 7).unwrap_err().kind, Kind::NotFound);
        assert_eq!(parts.begin((1, 7), 10, [1; 32]).unwrap(), 5);
        assert_eq!(parts.begin((1, 7), 10, [1; 32]).unwrap(), 5);
        fs::write(parts.turn(1, 7, 5).unwrap().path, b"0123456789").unwrap();
        parts.added(7, 10);
        let gathered = parts.take(1, 7).unwrap();
        assert_eq!((gathered.sha256, gathered.path.exists()), ([1; 32], true));
        assert_eq!(parts.begin((1, 8), 4, [2; 32]).unwrap(), 0);
        assert_eq!(parts.begin((1, 8), 4, [3; 32]).unwrap(), 0, "another file");
        parts.keep(|task| task == 8);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        parts.keep(|_| false);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
