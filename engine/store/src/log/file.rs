//! Owns one file of the log: its turn, appending to it, and reading it after a crash.
//!
//! An entry is written only after the one before is synced. So the first place where no sound
//! entry is found is the end, and a sound one beyond it means that acknowledged rows are damaged,
//! which is reported, not skipped.
//! After a failed write or sync nobody knows what is on disk: the file is opened anew and the
//! next entry goes to the same place.
//! Refuses to know the other file. Bound: entries up to the configured length; the file grows by
//! [`GROWTH_BYTES`], written once with zeros, so that a later sync need not record a new length.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::{Damage, StoreError};

use super::EntryRows;
use super::entry::{ENTRY_BYTES_MAX, Encoder, HEAD_BYTES, Head, SECTOR_BYTES, decode};
use super::header::{ENTRIES_START, HEADER_BYTES, HEADER_PLACES, Header};

/// By how much the file grows at a time.
const GROWTH_BYTES: u64 = 1 << 20;

/// One of the two files.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    file: Option<Box<dyn DiskFile>>,
    /// Its length, filled with zeros or entries.
    prepared: u64,
    turn: Option<Header>,
    /// Where the next entry goes.
    end: u64,
}

impl LogFile {
    pub(crate) fn new(path: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { path, disk, file: None, prepared: 0, turn: None, end: ENTRIES_START }
    }

    /// The turn, once one began.
    pub(crate) fn turn(&self) -> Option<&Header> {
        self.turn.as_ref()
    }

    /// Bytes of entries in this turn.
    pub(crate) fn entry_bytes(&self) -> u64 {
        self.end - ENTRIES_START
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a turn: entries of earlier ones no longer count.
    pub(crate) fn start_turn(&mut self, turn: Header) -> Result<(), StoreError> {
        let result = self.with(|file, prepared| {
            grow(file, prepared, ENTRIES_START)?;
            file.write_and_sync(turn.place(), &turn.to_bytes())
        });
        result.map_err(|source| self.failed("begin", source))?;
        (self.turn, self.end) = (Some(turn), ENTRIES_START);
        Ok(())
    }

    /// Writes an entry and syncs it. After an error it may be on disk or not.
    pub(crate) fn append(
        &mut self,
        encoder: &mut Encoder,
        first_sequence: u64,
    ) -> Result<(), StoreError> {
        let (Some(turn), place) = (&self.turn, self.end) else { return Err(StoreError::Closed) };
        let entry = encoder.finish(turn, place, first_sequence);
        let after = place + entry.len() as u64;
        let result = self.with(|file, prepared| {
            grow(file, prepared, after)?;
            file.write_and_sync(place, entry)
        });
        result.map_err(|source| self.failed("write", source))?;
        self.end = after;
        Ok(())
    }

    /// Reads the header, and the entries of the last turn. Ready to append afterwards.
    pub(crate) fn recover(&mut self) -> Result<Vec<EntryRows>, StoreError> {
        let exists = self.disk.exists(&self.path).map_err(|source| self.failed("find", source))?;
        if !exists {
            return Ok(Vec::new());
        }
        let read = self.with(|file, _| {
            let mut bytes = vec![0; usize::try_from(file.length()?).unwrap_or(usize::MAX)];
            file.read(0, &mut bytes)?;
            Ok(bytes)
        });
        let bytes = read.map_err(|source| self.failed("read", source))?;
        self.turn = HEADER_PLACES
            .iter()
            .filter_map(|&place| read_header(&bytes, place))
            .max_by_key(|header| header.epoch);
        self.end = ENTRIES_START;
        let epoch = self.turn.as_ref().map_or(0, |turn| turn.epoch);
        if read_head(&bytes, ENTRIES_START).is_some_and(|head| head.epoch > epoch) {
            return Err(self.corrupt(0, Damage::Missing));
        }
        let Some(turn) = self.turn.clone() else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        let mut last_place = self.end;
        let mut next_sequence = turn.first_sequence;
        while let Some((head, entry)) = read_entry(&bytes, &turn, self.end) {
            if head.first_sequence != next_sequence {
                return Err(self.corrupt(self.end, Damage::Value));
            }
            let rows = decode(&head, entry).map_err(|damage| self.corrupt(self.end, damage))?;
            next_sequence += u64::from(head.row_count);
            entries.push((head.first_sequence, rows));
            last_place = self.end;
            self.end += head.entry_bytes();
        }
        let mut place = self.end + SECTOR_BYTES;
        while place < bytes.len() as u64 {
            if read_entry(&bytes, &turn, place).is_some() {
                return Err(self.corrupt(self.end, Damage::Checksum));
            }
            place += SECTOR_BYTES;
        }
        // The last entry may be in memory only, and after a failed sync no later one would write
        // it. It is served from now on, and others will follow it.
        let last = bytes[last_place as usize..self.end as usize].to_vec();
        let written = self.with(|file, _| {
            file.write_and_sync(turn.place(), &turn.to_bytes())?;
            file.write_and_sync(last_place, &last)
        });
        written.map_err(|source| self.failed("write", source))?;
        Ok(entries)
    }

    /// Gives the file's handle and lock back.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    fn with<T>(
        &mut self,
        operation: impl FnOnce(&dyn DiskFile, &mut u64) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let file = match &self.file {
            Some(file) => file,
            None => {
                let file = self.disk.open(&self.path)?;
                // Also of a file that was found: whoever made it may have failed here.
                if let Some(parent) = self.path.parent() {
                    self.disk.sync_dir(parent)?;
                }
                self.prepared = file.length()?;
                self.file.insert(file)
            }
        };
        operation(&**file, &mut self.prepared)
    }

    fn failed(&mut self, action: &'static str, source: std::io::Error) -> StoreError {
        self.file = None;
        StoreError::Io { action, path: self.path.clone(), source }
    }

    fn corrupt(&self, place: u64, damage: Damage) -> StoreError {
        StoreError::Corrupt {
            path: self.path.clone(),
            table: "log",
            key: format!("at byte {place}"),
            damage,
        }
    }
}

/// Fills the file with zeros up to `bytes` and makes its length durable.
fn grow(file: &dyn DiskFile, prepared: &mut u64, bytes: u64) -> std::io::Result<()> {
    while *prepared < bytes {
        let zeros = vec![0; GROWTH_BYTES as usize];
        file.write_and_sync(*prepared, &zeros)?;
        *prepared += GROWTH_BYTES;
    }
    Ok(())
}

fn slice(bytes: &[u8], place: u64, count: usize) -> Option<&[u8]> {
    let start = usize::try_from(place).ok()?;
    bytes.get(start..start.checked_add(count)?)
}

fn read_header(bytes: &[u8], place: u64) -> Option<Header> {
    Header::from_bytes(slice(bytes, place, HEADER_BYTES)?.try_into().ok()?)
}

fn read_head(bytes: &[u8], place: u64) -> Option<Head> {
    Head::from_bytes(slice(bytes, place, HEAD_BYTES)?)
}

/// The sound entry of this turn at `place`, without its zeros.
fn read_entry<'a>(bytes: &'a [u8], turn: &Header, place: u64) -> Option<(Head, &'a [u8])> {
    let head = read_head(bytes, place)?;
    let payload_bytes = head.payload_bytes as usize;
    if payload_bytes > ENTRY_BYTES_MAX {
        return None;
    }
    let entry = slice(bytes, place, HEAD_BYTES + payload_bytes)?;
    head.is_sound(turn, place, entry).then_some((head, entry))
}
