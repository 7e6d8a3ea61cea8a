//! Owns queries over stored predictions: newest first, in pages.
//!
//! Newest means the highest sequence, the order in which the writer took the rows; a late record
//! is new although its timestamp is old. Rows of several models, users and months are merged by
//! sequence, and a segment is opened only when its turn comes.
//! Refuses to know HTTP parameters. Bound: [`PAGE_ROW_COUNT_MAX`] rows and
//! `SEGMENT_COUNT_MAX` opened segments per page; a page that ends for the second reason may be
//! short or empty and still has a cursor to go on from.

use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use truststram_base::limits::PAGE_ROW_COUNT_MAX;
use truststram_base::{ModelId, PredictionRecord, UserId};

use crate::core::Core;
use crate::error::StoreError;
use crate::explain::{Explanation, Touched};
use crate::month::Month;
use crate::month_file::MonthSnapshot;
use crate::row::{Row, RowFilter};
use crate::stream::{Head, ModelStream, SegmentReader, Stream, UserStream};

/// Most segments that one page opens, about 64 MiB.
const SEGMENT_COUNT_MAX: u64 = 1_024;
/// Index entries that cost as much as one opened segment.
const ENTRIES_PER_SEGMENT: u64 = 64;

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
    core: &Core,
    query: &PredictionQuery,
) -> Result<(PredictionPage, Explanation), StoreError> {
    let filter = Arc::new(RowFilter {
        model: query.model.clone(),
        user: query.user.clone(),
        since_us: query.since_us.unwrap_or(i64::MIN),
        until_us: query.until_us.unwrap_or(i64::MAX),
        before: query.before.map_or(u64::MAX, |cursor| cursor.before),
    });
    let mut touched = Touched::default();
    if filter.before == 0 || filter.since_us > filter.until_us {
        let page = PredictionPage { rows: Vec::new(), next: None };
        let plan = "nothing can be found".to_owned();
        return Ok((page, Explanation::new(plan, 0, 0, &touched)));
    }
    let models = query.model.as_ref().map(std::slice::from_ref);
    let (sources, months) = Sources::open(core, &filter, models, query.limit, &mut touched)?;
    let page = sources.merge(query.limit.min(PAGE_ROW_COUNT_MAX), &mut touched)?;
    let plan = plan_of(query);
    let explanation = Explanation::new(plan, months, page.rows.len(), &touched);
    Ok((page, explanation))
}

/// As [`run`], for the rows of any of `models`.
pub(crate) fn run_for_models(
    core: &Core,
    models: &[ModelId],
    since_us: i64,
    limit: usize,
) -> Result<(PredictionPage, Explanation), StoreError> {
    let filter = Arc::new(RowFilter {
        model: None,
        user: None,
        since_us,
        until_us: i64::MAX,
        before: u64::MAX,
    });
    let mut touched = Touched::default();
    let (sources, months) = Sources::open(core, &filter, Some(models), limit, &mut touched)?;
    let page = sources.merge(limit.min(PAGE_ROW_COUNT_MAX), &mut touched)?;
    let plan = format!(
        "merge, newest first, of the segments of {} models (index spans by model)",
        models.len()
    );
    let explanation = Explanation::new(plan, months, page.rows.len(), &touched);
    Ok((page, explanation))
}

fn plan_of(query: &PredictionQuery) -> String {
    let index = match (&query.user, &query.model) {
        (Some(_), None) => "index users, by hash of the user, run by run",
        (Some(_), Some(_)) => "index users, by hash of the user; the model is compared after",
        (None, Some(_)) => "index spans, by model, newest segment first",
        (None, None) => "merge, newest first, of the segments of all models (index spans)",
    };
    let time = match (query.since_us, query.until_us) {
        (None, None) => "",
        _ => "; segments and months outside the time are skipped",
    };
    format!("{index}{time}")
}

/// What a page is merged from.
struct Sources {
    streams: Vec<Stream>,
    /// Rows below this one may be missing from the streams: memory had more than were taken.
    floor: u64,
}

impl Sources {
    /// The streams of all wanted rows, and the count of months looked into. `models` names those
    /// that are wanted; without it, all.
    fn open(
        core: &Core,
        filter: &Arc<RowFilter>,
        models: Option<&[ModelId]>,
        limit: usize,
        touched: &mut Touched,
    ) -> Result<(Self, usize), StoreError> {
        let limit = limit.min(PAGE_ROW_COUNT_MAX) + 1;
        // Memory first: what leaves it meanwhile is found in a file that is opened after.
        let (mut rows, floor) = rows_of_memory(core, filter, models, limit);
        let mut snapshots = HashMap::new();
        let mut streams = Vec::new();
        for (month, file) in core.files.between(filter.since_us, filter.until_us) {
            let snapshot = file.snapshot()?;
            streams.extend(streams_of(core, &snapshot, filter, models)?);
            snapshots.insert(month, snapshot.next_sequence);
        }
        rows.retain(|row| {
            let month = Month::of(row.record.timestamp_us);
            snapshots.get(&month).is_none_or(|&next| row.sequence >= next)
        });
        touched.memory_rows += rows.len() as u64;
        touched.rows_examined += rows.len() as u64;
        streams.push(Stream::Memory(rows.into_iter()));
        Ok((Self { streams, floor }, snapshots.len()))
    }

    fn merge(mut self, limit: usize, touched: &mut Touched) -> Result<PredictionPage, StoreError> {
        let mut heads = BinaryHeap::with_capacity(self.streams.len());
        for (index, stream) in self.streams.iter_mut().enumerate() {
            heads.extend(stream.head(touched)?.map(|head| rank(head, index)));
        }
        let mut rows = Vec::with_capacity(limit);
        while let Some((sequence, is_segment, index)) = heads.pop() {
            if sequence < self.floor {
                return Ok(PredictionPage { rows, next: Some(Cursor { before: self.floor }) });
            }
            let is_page_full = !is_segment && rows.len() == limit;
            let opened = touched.segments_read + touched.segments_cached;
            let work = opened + touched.index_entries / ENTRIES_PER_SEGMENT;
            if is_page_full || work >= SEGMENT_COUNT_MAX {
                let next = Some(Cursor { before: sequence.saturating_add(1) });
                return Ok(PredictionPage { rows, next });
            }
            let stream = &mut self.streams[index];
            if is_segment {
                stream.open_segment(touched)?;
            } else if let Some(Row { sequence, record }) = stream.take_row()? {
                rows.push(StoredPrediction { sequence, record });
            }
            heads.extend(stream.head(touched)?.map(|head| rank(head, index)));
        }
        let next = (self.floor > 0).then_some(Cursor { before: self.floor });
        Ok(PredictionPage { rows, next })
    }
}

/// The newest rows in memory, newest first, and the sequence below which some may be left out.
fn rows_of_memory(
    core: &Core,
    filter: &RowFilter,
    models: Option<&[ModelId]>,
    limit: usize,
) -> (Vec<Arc<Row>>, u64) {
    let mut floor = 0;
    let mut found = |filter: &RowFilter| {
        let rows = core.memory.find(filter, limit);
        if rows.len() == limit {
            floor = floor.max(rows[limit - 1].sequence);
        }
        rows
    };
    let mut rows = match models {
        Some(models) if filter.model.is_none() => {
            let of = |model: &ModelId| RowFilter { model: Some(model.clone()), ..filter.clone() };
            models.iter().flat_map(|model| found(&of(model))).collect()
        }
        _ => found(filter),
    };
    rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.sequence));
    (rows, floor)
}

/// The streams of one month's file.
fn streams_of(
    core: &Core,
    snapshot: &MonthSnapshot,
    filter: &Arc<RowFilter>,
    models: Option<&[ModelId]>,
) -> Result<Vec<Stream>, StoreError> {
    let segments = Arc::new(SegmentReader::new(snapshot, &core.segment_cache)?);
    if let Some(user) = &filter.user {
        let stream = UserStream::new(snapshot, &segments, user.as_str(), filter)?;
        return Ok(vec![Stream::User(stream)]);
    }
    let models = match models {
        Some(models) => models.to_vec(),
        None => snapshot.models()?,
    };
    let stream = |model| ModelStream::new(snapshot, &segments, model, filter).map(Stream::Model);
    models.into_iter().map(stream).collect()
}

/// Orders heads by sequence.
fn rank(head: Head, index: usize) -> (u64, bool, usize) {
    match head {
        Head::Row(sequence) => (sequence, false, index),
        Head::Segment(sequence) => (sequence, true, index),
    }
}
