//! Owns the tables of one month of predictions. The file is self-contained, so that no commit
//! ever needs two files to agree.
//!
//! ```text
//! segments   last_sequence                 -> envelope(segment)
//! postings   (user, model, last_sequence)  -> envelope(min_us i64, max_us i64)
//! about      "next_sequence"               -> envelope(u64): above every sequence in the file
//! ```
//!
//! A posting says that the user has rows in that segment, and when the segment's rows were made;
//! the empty user, which no caller can have, stands for everybody. Refuses to know queues and
//! cursors. Bound: one transaction per commit.

use std::path::PathBuf;

use redb::{ReadOnlyTable, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::database_file::{ABOUT, DatabaseFile, OpenDatabase, put_number};
use crate::envelope::{self, HEADER_BYTES};
use crate::error::{Damage, StoreError};
use crate::segment::Segment;

/// The user of the postings that cover everybody.
pub(crate) const EVERYBODY: &str = "";

pub(crate) type PostingKey = (&'static str, &'static str, u64);
pub(crate) type Segments = ReadOnlyTable<u64, &'static [u8]>;
pub(crate) type Postings = ReadOnlyTable<PostingKey, &'static [u8]>;

pub(crate) const SEGMENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("segments");
pub(crate) const POSTINGS: TableDefinition<(&str, &str, u64), &[u8]> =
    TableDefinition::new("postings");

const NEXT_SEQUENCE: &str = "next_sequence";
const POSTING_BYTES: usize = HEADER_BYTES + 2 * size_of::<i64>();

/// One month of predictions.
pub(crate) struct MonthFile {
    pub(crate) file: DatabaseFile,
}

impl MonthFile {
    pub(crate) fn new(path: PathBuf, cache_bytes: usize, open: OpenDatabase) -> Self {
        Self { file: DatabaseFile::new(path, cache_bytes, open, create_tables) }
    }

    /// Writes the segments and syncs. After an error nobody knows whether they are on disk until
    /// [`MonthFile::next_sequence`] is asked again.
    pub(crate) fn commit(
        &self,
        segments: &[Segment],
        next_sequence: u64,
    ) -> Result<(), StoreError> {
        self.file.with(|database| {
            let transaction = database.begin_write()?;
            insert(&transaction, segments)?;
            put_number(&mut transaction.open_table(ABOUT)?, NEXT_SEQUENCE, next_sequence)?;
            Ok(transaction.commit()?)
        })
    }

    /// A number above every sequence that was committed to this file; opens the file.
    pub(crate) fn next_sequence(&self) -> Result<u64, StoreError> {
        Ok(self.file.number(NEXT_SEQUENCE)?.unwrap_or(0))
    }

    /// The tables as the last commit left them.
    pub(crate) fn tables(&self) -> Result<(Segments, Postings), StoreError> {
        self.file.with(|database| {
            let transaction = database.begin_read()?;
            Ok((transaction.open_table(SEGMENTS)?, transaction.open_table(POSTINGS)?))
        })
    }
}

fn create_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(SEGMENTS)?;
    transaction.open_table(POSTINGS)?;
    Ok(())
}

fn insert(transaction: &WriteTransaction, batch: &[Segment]) -> Result<(), redb::Error> {
    let mut segments = transaction.open_table(SEGMENTS)?;
    let mut postings = transaction.open_table(POSTINGS)?;
    for segment in batch {
        let (model, last_sequence) = (segment.model.as_str(), segment.last_sequence);
        segments.insert(last_sequence, &segment.frame[..])?;
        let users = segment.users.iter().map(|user| user.as_str());
        for user in users.chain([EVERYBODY]) {
            let posting = seal_posting((user, model, last_sequence), segment);
            postings.insert((user, model, last_sequence), &posting[..])?;
        }
    }
    Ok(())
}

fn posting_context((user, model, last_sequence): (&str, &str, u64)) -> u64 {
    envelope::context(&[user, model], last_sequence)
}

fn seal_posting(key: (&str, &str, u64), segment: &Segment) -> [u8; POSTING_BYTES] {
    let mut body = [0; POSTING_BYTES - HEADER_BYTES];
    body[..8].copy_from_slice(&segment.min_us.to_le_bytes());
    body[8..].copy_from_slice(&segment.max_us.to_le_bytes());
    envelope::frame(posting_context(key), &body)
}

/// The earliest and the latest timestamp in the segment that the posting names.
pub(crate) fn open_posting(key: (&str, &str, u64), frame: &[u8]) -> Result<(i64, i64), Damage> {
    let body = envelope::open(posting_context(key), frame)?;
    let (min_us, max_us) = body.split_first_chunk::<8>().ok_or(Damage::Length)?;
    let max_us = max_us.try_into().map_err(|_| Damage::Length)?;
    Ok((i64::from_le_bytes(*min_us), i64::from_le_bytes(max_us)))
}
