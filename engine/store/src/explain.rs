//! Owns what a query says about how it was answered: PostgreSQL's `EXPLAIN (ANALYZE, BUFFERS)`.
//!
//! Refuses to know queries. Bound: a few numbers.

use crate::segment::Columns;

/// The page of the database files, in bytes.
const PAGE_BYTES: usize = 4_096;

/// What a query touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) memory_rows: u64,
    pub(crate) index_entries: u64,
    pub(crate) segments_read: u64,
    pub(crate) segments_cached: u64,
    pub(crate) segments_skipped: u64,
    pub(crate) rows_examined: u64,
    pub(crate) pages_read: u64,
}

impl Touched {
    /// An index entry whose value has `bytes`.
    pub(crate) fn entry(&mut self, bytes: usize) {
        self.index_entries += 1;
        // Many small entries share a page; a large one has pages of its own.
        self.pages_read += (bytes / PAGE_BYTES) as u64;
    }

    /// A segment that was not cached.
    pub(crate) fn segment(&mut self, columns: &Columns) {
        self.segments_read += 1;
        self.pages_read += columns.stored_bytes.div_ceil(PAGE_BYTES) as u64;
    }
}

/// How a query was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The way to the rows, in words.
    pub plan: String,
    /// Months whose files were looked into.
    pub months: u64,
    /// Rows that were answered.
    pub rows: u64,
    /// Rows that were looked at.
    pub rows_examined: u64,
    /// Rows that came from memory: they are in the log and not yet in a month's file.
    pub rows_from_memory: u64,
    /// Index entries and figures that were read.
    pub index_entries: u64,
    /// Segments that were read from a file and unpacked.
    pub segments_read: u64,
    /// Segments that were unpacked already.
    pub segments_cached: u64,
    /// Segments that the index ruled out by time.
    pub segments_skipped: u64,
    /// Pages of 4 KiB that hold the segments and large index values read.
    pub pages_read: u64,
    /// Duration in microseconds.
    pub duration_us: u64,
}

impl Explanation {
    pub(crate) fn new(plan: String, months: usize, rows: usize, touched: &Touched) -> Self {
        Self {
            plan,
            months: months as u64,
            rows: rows as u64,
            rows_examined: touched.rows_examined,
            rows_from_memory: touched.memory_rows,
            index_entries: touched.index_entries,
            segments_read: touched.segments_read,
            segments_cached: touched.segments_cached,
            segments_skipped: touched.segments_skipped,
            pages_read: touched.pages_read,
            duration_us: 0,
        }
    }
}
