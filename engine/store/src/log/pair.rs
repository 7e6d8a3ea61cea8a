//! Owns the turns of the two log files.
//!
//! Refuses to know what the rows are for. Bound: a turn ends before an entry that would not fit.

use std::path::Path;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::disk::Disk;
use crate::error::{Damage, StoreError};

use super::EntryRows;
use super::entry::{ENTRY_BYTES_MAX, Encoder};
use super::file::LogFile;
use super::header::{Header, MONTH_COUNT_MAX};

/// What was found in the log at start.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Entries of the turn before the last; all, some or none of their rows are in month files.
    pub(crate) older: Vec<EntryRows>,
    /// Entries of the last turn.
    pub(crate) newer: Vec<EntryRows>,
    /// The sequence of the first row of the last turn, and of the next row; `None` if there was
    /// no log.
    pub(crate) sequences: Option<(u64, u64)>,
    /// What the files of these months, as year * 100 + month, had at least.
    pub(crate) months: Vec<(u32, u64)>,
}

/// Both files.
#[derive(Debug)]
pub(crate) struct Log {
    files: [LogFile; 2],
    active: usize,
    bytes_max: u64,
    salt: u64,
}

impl Log {
    /// Reads the log in `directory`, which exists. `salt` should differ from start to start.
    pub(crate) fn open(
        directory: &Path,
        disk: &Arc<dyn Disk>,
        bytes_max: u64,
        salt: u64,
    ) -> Result<(Self, Recovered), StoreError> {
        let file = |name: &str| LogFile::new(directory.join(name), Arc::clone(disk));
        let files = [file("even.log"), file("odd.log")];
        let bytes_max = bytes_max.max(2 * ENTRY_BYTES_MAX as u64);
        let mut log = Self { files, active: 0, bytes_max, salt };
        let recovered = log.recover()?;
        Ok((log, recovered))
    }

    fn recover(&mut self) -> Result<Recovered, StoreError> {
        let [even, odd] = &mut self.files;
        let mut entries = [even.recover()?, odd.recover()?];
        let epochs = [even.turn(), odd.turn()].map(|turn| turn.map_or(0, |turn| turn.epoch));
        self.active = usize::from(epochs[1] > epochs[0]);
        let Some(last) = self.files[self.active].turn() else { return Ok(Recovered::default()) };
        let months = last.months.clone();
        let mut older = std::mem::take(&mut entries[1 - self.active]);
        let newer = std::mem::take(&mut entries[self.active]);
        if !newer.is_empty() {
            // Writing them failed, so nobody was told that they are kept, and the turn that
            // followed began with their sequences.
            older.retain(|(first, _)| *first < last.first_sequence);
        }
        let before = &self.files[1 - self.active];
        let end_of = |first: u64, entries: &[EntryRows]| {
            entries.last().map_or(first, |(first, rows)| first + rows.len() as u64)
        };
        let older_end = before.turn().map(|turn| (turn.epoch, end_of(turn.first_sequence, &older)));
        if let Some((_, end)) = older_end
            && newer.is_empty()
            && end > last.first_sequence
        {
            // Beginning the turn failed half-way, and the one before went on.
            let sequences = Some((before.turn().map_or(0, |turn| turn.first_sequence), end));
            let months = before.turn().map(|turn| turn.months.clone()).unwrap_or_default();
            self.active = 1 - self.active;
            return Ok(Recovered { older: Vec::new(), newer: older, sequences, months });
        }
        let is_whole = match older_end {
            // The first turn of all has none before.
            None => last.epoch == 1,
            Some((epoch, end)) => epoch + 1 == last.epoch && end == last.first_sequence,
        };
        if !is_whole {
            return Err(StoreError::Corrupt {
                path: before.path().to_owned(),
                table: "log",
                key: format!("turn {}", last.epoch - 1),
                damage: Damage::Missing,
            });
        }
        let next_sequence = end_of(last.first_sequence, &newer);
        let sequences = Some((last.first_sequence, next_sequence));
        Ok(Recovered { older, newer, sequences, months })
    }

    /// Whether a turn began.
    pub(crate) fn is_started(&self) -> bool {
        self.files[self.active].turn().is_some()
    }

    /// Whether the entry fits into this turn.
    pub(crate) fn has_room_for(&self, encoder: &Encoder) -> bool {
        self.is_started()
            && self.files[self.active].entry_bytes() + encoder.entry_bytes() <= self.bytes_max
    }

    /// Writes an entry and syncs it. After an error it may be on disk or not, and the next entry
    /// takes its place.
    pub(crate) fn append(
        &mut self,
        encoder: &mut Encoder,
        first_sequence: u64,
    ) -> Result<(), StoreError> {
        self.files[self.active].append(encoder, first_sequence)
    }

    /// Goes on in the other file, whose rows must all be in month files by now; `months` says what
    /// those have.
    pub(crate) fn switch(
        &mut self,
        first_sequence: u64,
        mut months: Vec<(u32, u64)>,
    ) -> Result<(), StoreError> {
        let epoch = self.files[self.active].turn().map_or(0, |turn| turn.epoch) + 1;
        let next = (epoch % 2) as usize;
        let salt = xxh3_64_with_seed(&epoch.to_le_bytes(), self.salt);
        months.sort_unstable_by_key(|&(_, next_sequence)| std::cmp::Reverse(next_sequence));
        months.truncate(MONTH_COUNT_MAX);
        self.files[next].start_turn(Header { epoch, salt, first_sequence, months })?;
        self.active = next;
        Ok(())
    }

    /// Gives the files' handles and locks back.
    pub(crate) fn close(&mut self) {
        self.files.iter_mut().for_each(LogFile::close);
    }
}
