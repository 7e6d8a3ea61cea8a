//! Owns a database of trial rows, with which the ways to reach a file are compared.
//!
//! A row is what a recorded prediction costs: its bytes, two index entries and a running total;
//! and a segment is what the store packs them into. Refuses to know clocks and to print. Bound:
//! one transaction at a time.

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use truststram_machine::ring::SyncBy;

use super::{open_ring_database, open_synced_database};
use crate::error::StoreError;

const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");
const BY_USER: TableDefinition<(u64, u64), ()> = TableDefinition::new("by_user");
const BY_TIME: TableDefinition<(u64, u64), ()> = TableDefinition::new("by_time");
const TOTALS: TableDefinition<u64, u64> = TableDefinition::new("totals");
const SEGMENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("segments");

/// Bytes of a row.
const ROW_BYTES: usize = 300;
/// How many users the rows belong to.
const USER_COUNT: u64 = 1_000;

/// How a database file is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreIo {
    /// Through the page cache, one system call at a time: redb's own backend.
    File,
    /// Through io_uring.
    Ring,
}

impl StoreIo {
    /// `file` or `uring`, as in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Ring => "uring",
        }
    }
}

/// An open database of trial rows.
pub struct Trial {
    path: PathBuf,
    database: Database,
}

impl Trial {
    /// Opens or creates the file at `path` with a page cache of the given bytes.
    ///
    /// # Errors
    /// What the database said.
    pub fn open(path: &Path, io: StoreIo, cache_bytes: usize) -> Result<Self, StoreError> {
        let database = match io {
            StoreIo::File => Database::builder()
                .set_cache_size(cache_bytes)
                .create(path)
                .map_err(redb::Error::from),
            StoreIo::Ring => open_ring_database(path, cache_bytes),
        };
        Self::of(path, database)
    }

    /// As [`Trial::open`] with [`StoreIo::Ring`], with syncs that follow the writes as calls.
    ///
    /// # Errors
    /// What the database said.
    pub fn open_calling(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        Self::of(path, open_synced_database(path, cache_bytes, SyncBy::Call))
    }

    fn of(path: &Path, database: Result<Database, redb::Error>) -> Result<Self, StoreError> {
        match database {
            Ok(database) => Ok(Self { path: path.to_owned(), database }),
            Err(source) => Err(failure(path, source)),
        }
    }

    /// Commits `count` rows from number `first` on in one durable transaction.
    ///
    /// # Errors
    /// What the database said.
    pub fn commit_rows(&self, first: u64, count: u64) -> Result<(), StoreError> {
        insert_rows(&self.database, first, count).map_err(|source| failure(&self.path, source))
    }

    /// Commits one segment of `bytes` bytes in one durable transaction.
    ///
    /// # Errors
    /// What the database said.
    pub fn commit_segment(&self, number: u64, bytes: usize) -> Result<(), StoreError> {
        insert_segment(&self.database, number, bytes).map_err(|source| failure(&self.path, source))
    }

    /// Reads all rows and segments in order and returns how many bytes they have.
    ///
    /// # Errors
    /// What the database said.
    pub fn scan(&self) -> Result<u64, StoreError> {
        read_all(&self.database).map_err(|source| failure(&self.path, source))
    }

    /// Whether the file is sound.
    ///
    /// # Errors
    /// What the database said.
    pub fn check(&mut self) -> Result<bool, StoreError> {
        self.database.check_integrity().map_err(|source| failure(&self.path, source.into()))
    }
}

fn failure(path: &Path, source: redb::Error) -> StoreError {
    StoreError::Database { path: path.to_owned(), source: Box::new(source) }
}

fn insert_rows(database: &Database, first: u64, count: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut rows = transaction.open_table(ROWS)?;
        let mut by_user = transaction.open_table(BY_USER)?;
        let mut by_time = transaction.open_table(BY_TIME)?;
        let mut totals = transaction.open_table(TOTALS)?;
        let mut bytes = [0; ROW_BYTES];
        for row in first..first.saturating_add(count) {
            fill(&mut bytes, row);
            let user = scattered(row) % USER_COUNT;
            rows.insert(row, &bytes[..])?;
            by_user.insert((user, row), ())?;
            by_time.insert((row / 10, row), ())?;
        }
        let total = totals.get(0)?.map_or(0, |total| total.value());
        totals.insert(0, total.saturating_add(count))?;
    }
    Ok(transaction.commit()?)
}

fn insert_segment(database: &Database, number: u64, bytes: usize) -> Result<(), redb::Error> {
    let mut segment = vec![0; bytes];
    fill(&mut segment, number);
    let transaction = database.begin_write()?;
    transaction.open_table(SEGMENTS)?.insert(number, &segment[..])?;
    Ok(transaction.commit()?)
}

fn read_all(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    let mut read = 0;
    for table in [ROWS, SEGMENTS] {
        let table = match transaction.open_table(table) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in table.iter()? {
            read += entry?.1.value().len() as u64;
        }
    }
    Ok(read)
}

/// Bytes that do not compress, the same for the same number.
fn fill(bytes: &mut [u8], number: u64) {
    for (at, chunk) in (0_u64..).zip(bytes.chunks_mut(8)) {
        let word = scattered(number.wrapping_mul(1_000_003).wrapping_add(at)).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// A number far from those of its neighbours (the finalizer of SplitMix64).
fn scattered(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
