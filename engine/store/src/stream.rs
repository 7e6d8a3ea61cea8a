//! Owns descending runs of rows: those in memory, those of one model in a month's file, and those
//! of one user in a month's file.
//!
//! Segments of one model do not overlap, so such a run needs one segment open at a time; a user's
//! rows are collected from all segments of one run of the log.
//! Refuses to know pages and other streams. Bound: one segment in memory; of a user, the wanted
//! rows of one run.

use std::iter::Rev;
use std::sync::Arc;

use redb::{Key, OwnedRange, ReadOnlyTable, TableDefinition};
use truststram_base::ModelId;

use crate::database_file::OpenDatabase;
use crate::error::{Damage, StoreError};
use crate::explain::Touched;
use crate::month_file::{
    MonthFile, MonthSnapshot, SEGMENTS, SPANS, USER_ENTRY_BYTES, USERS, bucket_of, open_span,
    open_users, user_entry,
};
use crate::row::{Row, RowFilter};
use crate::segment::{Columns, decode, user_hash};
use crate::segment_cache::SegmentCache;

/// What a stream offers next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// The row with this sequence.
    Row(u64),
    /// Segments that are not open yet; none of their rows is above this sequence.
    Segment(u64),
}

/// One descending run of rows.
pub(crate) enum Stream {
    Memory(std::vec::IntoIter<Arc<Row>>),
    Model(ModelStream),
    User(UserStream),
}

impl Stream {
    /// What comes next; `None` at the end.
    pub(crate) fn head(&mut self, touched: &mut Touched) -> Result<Option<Head>, StoreError> {
        match self {
            Self::Memory(rows) => Ok(rows.as_slice().first().map(|row| Head::Row(row.sequence))),
            Self::Model(stream) => stream.head(touched),
            Self::User(stream) => stream.head(touched),
        }
    }

    /// Opens the segments that [`Stream::head`] offered.
    pub(crate) fn open_segment(&mut self, touched: &mut Touched) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Model(stream) => stream.open_segment(touched),
            Self::User(stream) => stream.open_segments(touched),
        }
    }

    /// Takes the row that [`Stream::head`] offered.
    pub(crate) fn take_row(&mut self) -> Result<Option<Row>, StoreError> {
        match self {
            Self::Memory(rows) => Ok(rows
                .next()
                .map(|row| Row { sequence: row.sequence, record: row.record.clone() })),
            Self::Model(stream) => stream.rows.take(&stream.segments.file),
            Self::User(stream) => stream.rows.take(&stream.segments.file),
        }
    }
}

/// Reads segments of one month's file.
pub(crate) struct SegmentReader {
    file: Arc<MonthFile>,
    /// Stays open as long as the table is read.
    _database: Arc<OpenDatabase>,
    table: ReadOnlyTable<u64, &'static [u8]>,
    cache: Arc<SegmentCache>,
}

impl SegmentReader {
    pub(crate) fn new(
        snapshot: &MonthSnapshot,
        cache: &Arc<SegmentCache>,
    ) -> Result<Self, StoreError> {
        let table = snapshot.read(|transaction| Ok(transaction.open_table(SEGMENTS)?))?;
        let (file, database) = (Arc::clone(&snapshot.file), Arc::clone(&snapshot.database));
        Ok(Self { file, _database: database, table, cache: Arc::clone(cache) })
    }

    pub(crate) fn read(
        &self,
        last_sequence: u64,
        touched: &mut Touched,
    ) -> Result<Arc<Columns>, StoreError> {
        if let Some(columns) = self.cache.get(last_sequence) {
            touched.segments_cached += 1;
            return Ok(columns);
        }
        let corrupt =
            |damage| self.file.file.corrupt("segments", last_sequence.to_string(), damage);
        let frame = self
            .table
            .get(last_sequence)
            .map_err(|source| self.file.file.failed(source.into()))?
            .ok_or_else(|| corrupt(Damage::Missing))?;
        let columns = Arc::new(decode(frame.value(), last_sequence).map_err(corrupt)?);
        touched.segment(&columns);
        self.cache.put(last_sequence, &columns);
        Ok(columns)
    }
}

/// Wanted rows of open segments.
#[derive(Default)]
struct OpenRows {
    /// Ascending by sequence; taken from the end.
    places: Vec<(u64, Arc<Columns>, u32)>,
}

impl OpenRows {
    fn head(&self) -> Option<Head> {
        self.places.last().map(|(sequence, ..)| Head::Row(*sequence))
    }

    fn add(&mut self, columns: &Arc<Columns>, filter: &RowFilter, touched: &mut Touched) {
        touched.rows_examined += columns.row_count() as u64;
        for at in (0..columns.row_count()).filter(|&at| columns.is_wanted(at, filter)) {
            let place = u32::try_from(at).unwrap_or(u32::MAX);
            self.places.push((columns.sequences[at], Arc::clone(columns), place));
        }
    }

    fn take(&mut self, file: &MonthFile) -> Result<Option<Row>, StoreError> {
        let Some((sequence, columns, at)) = self.places.pop() else { return Ok(None) };
        let row = columns.row(at as usize);
        row.map(Some)
            .map_err(|damage| file.file.corrupt("segments", format!("row {sequence}"), damage))
    }
}

/// The rows of one model in one month's file.
pub(crate) struct ModelStream {
    segments: Arc<SegmentReader>,
    filter: Arc<RowFilter>,
    model: ModelId,
    spans: Rev<OwnedRange<(&'static str, u64), &'static [u8]>>,
    /// The next segment, if its span was read already.
    next_segment: Option<u64>,
    rows: OpenRows,
}

impl ModelStream {
    pub(crate) fn new(
        snapshot: &MonthSnapshot,
        segments: &Arc<SegmentReader>,
        model: ModelId,
        filter: &Arc<RowFilter>,
    ) -> Result<Self, StoreError> {
        let key = |sequence: u64| (model.as_str(), sequence);
        let spans = entries_below(snapshot, SPANS, key, |(_, last)| last, filter.before)?;
        Ok(Self {
            segments: Arc::clone(segments),
            filter: Arc::clone(filter),
            model,
            spans,
            next_segment: None,
            rows: OpenRows::default(),
        })
    }

    fn head(&mut self, touched: &mut Touched) -> Result<Option<Head>, StoreError> {
        if let Some(head) = self.rows.head() {
            return Ok(Some(head));
        }
        let file = &self.segments.file.file;
        while self.next_segment.is_none() {
            let Some(span) = self.spans.next() else { return Ok(None) };
            let (key, frame) = span.map_err(|source| file.failed(source.into()))?;
            let key = key.value();
            touched.entry(frame.value().len());
            let span = open_span(key, frame.value())
                .map_err(|damage| file.corrupt("spans", format!("{key:?}"), damage))?;
            if span.max_us >= self.filter.since_us && span.min_us <= self.filter.until_us {
                self.next_segment = Some(key.1);
            } else {
                touched.segments_skipped += 1;
            }
        }
        Ok(self.next_segment.map(|last| Head::Segment(last.min(self.filter.before - 1))))
    }

    fn open_segment(&mut self, touched: &mut Touched) -> Result<(), StoreError> {
        let Some(last_sequence) = self.next_segment.take() else { return Ok(()) };
        let columns = self.segments.read(last_sequence, touched)?;
        if columns.model != self.model {
            let key = last_sequence.to_string();
            return Err(self.segments.file.file.corrupt("segments", key, Damage::Value));
        }
        self.rows.add(&columns, &self.filter, touched);
        Ok(())
    }
}

/// The rows of one user in one month's file.
pub(crate) struct UserStream {
    segments: Arc<SegmentReader>,
    filter: Arc<RowFilter>,
    hash: u64,
    runs: Rev<OwnedRange<(u8, u64), &'static [u8]>>,
    /// The next run's last sequence and the user's segments in it.
    next_run: Option<(u64, Vec<u64>)>,
    rows: OpenRows,
}

impl UserStream {
    pub(crate) fn new(
        snapshot: &MonthSnapshot,
        segments: &Arc<SegmentReader>,
        user: &str,
        filter: &Arc<RowFilter>,
    ) -> Result<Self, StoreError> {
        let hash = user_hash(user);
        let key = |run: u64| (bucket_of(hash), run);
        let runs = entries_below(snapshot, USERS, key, |(_, run)| run, filter.before)?;
        Ok(Self {
            segments: Arc::clone(segments),
            filter: Arc::clone(filter),
            hash,
            runs,
            next_run: None,
            rows: OpenRows::default(),
        })
    }

    fn head(&mut self, touched: &mut Touched) -> Result<Option<Head>, StoreError> {
        if let Some(head) = self.rows.head() {
            return Ok(Some(head));
        }
        let file = &self.segments.file.file;
        while self.next_run.is_none() {
            let Some(run) = self.runs.next() else { return Ok(None) };
            let (key, frame) = run.map_err(|source| file.failed(source.into()))?;
            let key = key.value();
            touched.entry(frame.value().len());
            let entries = open_users(key, frame.value())
                .map_err(|damage| file.corrupt("users", format!("{key:?}"), damage))?;
            let segments = segments_of(entries, self.hash, key.1);
            if !segments.is_empty() {
                self.next_run = Some((key.1, segments));
            }
        }
        let last = self.next_run.as_ref().map(|(last, _)| *last);
        Ok(last.map(|last| Head::Segment(last.min(self.filter.before - 1))))
    }

    fn open_segments(&mut self, touched: &mut Touched) -> Result<(), StoreError> {
        let Some((_, segments)) = self.next_run.take() else { return Ok(()) };
        for last_sequence in segments {
            let columns = self.segments.read(last_sequence, touched)?;
            if self.filter.model.as_ref().is_none_or(|model| *model == columns.model) {
                self.rows.add(&columns, &self.filter, touched);
            }
        }
        self.rows.places.sort_unstable_by_key(|(sequence, ..)| *sequence);
        Ok(())
    }
}

/// The entries of an index, descending, that may have rows below the sequence `before`: those that
/// end below it, and the first that does not, which may begin below. `key` makes the key of an
/// entry that ends with a sequence, `last_of` reads it back.
fn entries_below<'k, K: Key + 'static>(
    snapshot: &MonthSnapshot,
    index: TableDefinition<'_, K, &'static [u8]>,
    key: impl Fn(u64) -> K::SelfType<'k>,
    last_of: impl Fn(K::SelfType<'_>) -> u64,
    before: u64,
) -> Result<Rev<OwnedRange<K, &'static [u8]>>, StoreError> {
    snapshot.read(|transaction| {
        let table = transaction.open_table(index)?;
        let last = match table.range(key(before)..=key(u64::MAX))?.next() {
            Some(entry) => last_of(entry?.0.value()),
            None => u64::MAX,
        };
        Ok(table.range_owned(key(0)..=key(last))?.rev())
    })
}

fn segments_of(entries: &[[u8; USER_ENTRY_BYTES]], hash: u64, run: u64) -> Vec<u64> {
    let start = entries.partition_point(|entry| user_entry(entry, run).0 < hash);
    let found = entries[start..].iter().map(|entry| user_entry(entry, run));
    found.take_while(|(of, _)| *of == hash).map(|(_, segment)| segment).collect()
}
