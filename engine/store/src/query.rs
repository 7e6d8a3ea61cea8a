//! Owns queries over stored predictions: newest first, in pages.
//!
//! Newest means the highest sequence, the order in which the writer took the rows; a late record
//! is new although its timestamp is old. Rows of several models, users and months are merged by
//! sequence, and a segment is opened only when its turn comes.
//! Refuses to know HTTP parameters. Bound: [`PAGE_ROW_COUNT_MAX`] rows and
//! `SEGMENT_COUNT_MAX` opened segments per page; a page that ends for the second reason may be
//! short or empty and still has a cursor to go on from.

use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use truststram_base::limits::PAGE_ROW_COUNT_MAX;
use truststram_base::{ModelId, PredictionRecord, UserId};

use crate::error::StoreError;
use crate::month_file::EVERYBODY;
use crate::month_files::MonthFiles;
use crate::segment::RowFilter;
use crate::stream::{Head, Stream};

/// Most segments that one page opens, about 64 MiB.
const SEGMENT_COUNT_MAX: usize = 1_024;
/// Index entries that cost as much as one opened segment.
const SKIPS_PER_SEGMENT: usize = 64;

/// Which predictions are wanted; the default wants the newest hundred of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictionQuery {
    /// Only this model's.
    pub model: Option<ModelId>,
    /// Only this user's.
    pub user: Option<UserId>,
    /// Only those made at or after this time, microseconds UTC.
    pub since_us: Option<i64>,
    /// Only those made at or before this time, microseconds UTC.
    pub until_us: Option<i64>,
    /// Most rows of the page; more than [`PAGE_ROW_COUNT_MAX`] means that.
    pub limit: usize,
    /// Go on after the page that gave this cursor.
    pub before: Option<Cursor>,
}

impl Default for PredictionQuery {
    fn default() -> Self {
        Self { model: None, user: None, since_us: None, until_us: None, limit: 100, before: None }
    }
}

/// One kept prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPrediction {
    /// Its place in the order of all predictions of this store; newer ones are higher.
    pub sequence: u64,
    /// The prediction.
    pub record: PredictionRecord,
}

/// A page of predictions, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionPage {
    /// The rows.
    pub rows: Vec<StoredPrediction>,
    /// Where the next page begins; `None` when there are no more rows.
    pub next: Option<Cursor>,
}

/// A place between two rows. Its text is opaque to users and stays valid across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Rows below this sequence come next.
    before: u64,
}

const CURSOR_PREFIX: &str = "p1-";

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CURSOR_PREFIX}{:x}", self.before)
    }
}

impl FromStr for Cursor {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.strip_prefix(CURSOR_PREFIX)
            .filter(|digits| digits.bytes().all(is_digit))
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(|before| Self { before })
            .ok_or_else(|| StoreError::Cursor { text: text.chars().take(32).collect() })
    }
}

/// Answers `query` from what is committed now.
pub(crate) fn run(
    files: &MonthFiles,
    query: &PredictionQuery,
) -> Result<PredictionPage, StoreError> {
    let filter = Arc::new(RowFilter {
        user: query.user.as_ref().map_or(EVERYBODY, UserId::as_str).to_owned(),
        since_us: query.since_us.unwrap_or(i64::MIN),
        until_us: query.until_us.unwrap_or(i64::MAX),
        before: query.before.map_or(u64::MAX, |cursor| cursor.before),
    });
    if filter.before == 0 || filter.since_us > filter.until_us {
        return Ok(PredictionPage { rows: Vec::new(), next: None });
    }
    let mut streams = Vec::new();
    for file in files.between(filter.since_us, filter.until_us) {
        streams.extend(Stream::of_file(&file, query.model.as_ref(), &filter)?);
    }
    merge(streams, query.limit.min(PAGE_ROW_COUNT_MAX))
}

fn merge(mut streams: Vec<Stream>, limit: usize) -> Result<PredictionPage, StoreError> {
    let mut skipped = 0;
    let mut opened = 0;
    let mut heads = BinaryHeap::with_capacity(streams.len());
    for (index, stream) in streams.iter_mut().enumerate() {
        heads.extend(stream.head(&mut skipped)?.map(|head| rank(head, index)));
    }
    let mut rows = Vec::with_capacity(limit);
    while let Some((sequence, is_segment, index)) = heads.pop() {
        let is_page_full = !is_segment && rows.len() == limit;
        if is_page_full || opened + skipped / SKIPS_PER_SEGMENT >= SEGMENT_COUNT_MAX {
            let next = Some(Cursor { before: sequence.saturating_add(1) });
            return Ok(PredictionPage { rows, next });
        }
        let stream = &mut streams[index];
        if is_segment {
            stream.open_segment()?;
            opened += 1;
        } else if let Some(record) = stream.take_row()? {
            rows.push(StoredPrediction { sequence, record });
        }
        heads.extend(stream.head(&mut skipped)?.map(|head| rank(head, index)));
    }
    Ok(PredictionPage { rows, next: None })
}

/// Orders heads by sequence.
fn rank(head: Head, index: usize) -> (u64, bool, usize) {
    match head {
        Head::Row(sequence) => (sequence, false, index),
        Head::Segment(sequence) => (sequence, true, index),
    }
}
