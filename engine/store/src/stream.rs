//! Owns one descending run of rows: those of one model, and of one user or everybody, in one month
//! file. Segments of a run do not overlap, so a run needs one segment open at a time.
//!
//! Refuses to know pages and other runs. Bound: one segment in memory.

use std::iter::Rev;
use std::ops::Bound;
use std::sync::Arc;

use redb::{OwnedAccessGuard, OwnedRange};
use truststram_base::{ModelId, PredictionRecord};

use crate::error::{Damage, StoreError};
use crate::month_file::{MonthFile, PostingKey, Postings, Segments, open_posting};
use crate::segment::{self, RowFilter, RowPlace};

/// What a run offers next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// The row with this sequence.
    Row(u64),
    /// A segment that is not open yet; none of its rows is above this sequence.
    Segment(u64),
}

/// One descending run of rows.
pub(crate) struct Stream {
    file: Arc<MonthFile>,
    segments: Arc<Segments>,
    filter: Arc<RowFilter>,
    model: ModelId,
    postings: Rev<OwnedRange<PostingKey, &'static [u8]>>,
    /// The next segment, if its posting was read already.
    next_segment: Option<u64>,
    open: Option<OpenSegment>,
}

struct OpenSegment {
    last_sequence: u64,
    frame: OwnedAccessGuard<&'static [u8]>,
    /// Wanted rows, ascending; taken from the end.
    rows: Vec<RowPlace>,
}

impl Stream {
    /// The runs of one file: of `model`, or one per model of the filter's user.
    pub(crate) fn of_file(
        file: &Arc<MonthFile>,
        model: Option<&ModelId>,
        filter: &Arc<RowFilter>,
    ) -> Result<Vec<Self>, StoreError> {
        let (segments, postings) = file.tables()?;
        let segments = Arc::new(segments);
        let models = match model {
            Some(model) => vec![model.clone()],
            None => models_of(file, &postings, &filter.user)?,
        };
        models
            .into_iter()
            .map(|model| {
                let postings = postings_before(&postings, &filter.user, &model, filter.before)
                    .map_err(|source| file.file.failed(source))?;
                Ok(Self {
                    file: Arc::clone(file),
                    segments: Arc::clone(&segments),
                    filter: Arc::clone(filter),
                    model,
                    postings: postings.rev(),
                    next_segment: None,
                    open: None,
                })
            })
            .collect()
    }

    /// What comes next; `None` at the end. `skipped` grows by each segment that the index rules
    /// out by time.
    pub(crate) fn head(&mut self, skipped: &mut usize) -> Result<Option<Head>, StoreError> {
        if let Some(row) = self.open.as_ref().and_then(|open| open.rows.last()) {
            return Ok(Some(Head::Row(row.sequence)));
        }
        self.open = None;
        while self.next_segment.is_none() {
            let Some(posting) = self.postings.next() else { return Ok(None) };
            let (key, frame) = posting.map_err(|source| self.file.file.failed(source.into()))?;
            let key = key.value();
            let (min_us, max_us) = open_posting(key, frame.value())
                .map_err(|damage| self.file.file.corrupt("postings", format!("{key:?}"), damage))?;
            if max_us >= self.filter.since_us && min_us <= self.filter.until_us {
                self.next_segment = Some(key.2);
            } else {
                *skipped += 1;
            }
        }
        Ok(self.next_segment.map(|last| Head::Segment(last.min(self.filter.before - 1))))
    }

    /// Opens the segment that [`Stream::head`] offered.
    pub(crate) fn open_segment(&mut self) -> Result<(), StoreError> {
        let Some(last_sequence) = self.next_segment.take() else { return Ok(()) };
        let frame = self
            .segments
            .get_owned(last_sequence)
            .map_err(|source| self.file.file.failed(source.into()))?
            .ok_or_else(|| self.corrupt(last_sequence, Damage::Missing))?;
        let rows = segment::open(frame.value(), last_sequence)
            .and_then(|body| segment::find_rows(body, &self.model, &self.filter))
            .map_err(|damage| self.corrupt(last_sequence, damage))?;
        self.open = Some(OpenSegment { last_sequence, frame, rows });
        Ok(())
    }

    /// Takes the row that [`Stream::head`] offered.
    pub(crate) fn take_row(&mut self) -> Result<Option<PredictionRecord>, StoreError> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let Some(place) = open.rows.pop() else { return Ok(None) };
        let last_sequence = open.last_sequence;
        // The checksum was compared when the segment was opened, and its page is held since.
        let body = open.frame.value().get(crate::envelope::HEADER_BYTES..).unwrap_or_default();
        let record = segment::decode(body, place, &self.model)
            .map_err(|damage| self.corrupt(last_sequence, damage))?;
        Ok(Some(record))
    }

    fn corrupt(&self, last_sequence: u64, damage: Damage) -> StoreError {
        self.file.file.corrupt("segments", last_sequence.to_string(), damage)
    }
}

/// The postings of all segments that may have rows below `before`: those that end below it, and
/// the first one that does not, which may have begun below it.
fn postings_before(
    postings: &Postings,
    user: &str,
    model: &ModelId,
    before: u64,
) -> Result<OwnedRange<PostingKey, &'static [u8]>, redb::Error> {
    let key = |sequence: u64| (user, model.as_str(), sequence);
    let last = match postings.range_owned(key(before)..=key(u64::MAX))?.next() {
        Some(posting) => posting?.0.value().2,
        None => u64::MAX,
    };
    Ok(postings.range_owned(key(0)..=key(last))?)
}

/// The models that `user` has postings of, found by skipping from one to the next.
fn models_of(
    file: &MonthFile,
    postings: &Postings,
    user: &str,
) -> Result<Vec<ModelId>, StoreError> {
    let fail = |source: redb::StorageError| file.file.failed(source.into());
    let mut models: Vec<ModelId> = Vec::new();
    loop {
        let after = models.last().map_or("", ModelId::as_str);
        let bounds = (Bound::Excluded((user, after, u64::MAX)), Bound::Unbounded);
        let next = postings.range_owned::<(&str, &str, u64)>(bounds).map_err(fail)?.next();
        let Some(posting) = next else { return Ok(models) };
        let (key, _) = posting.map_err(fail)?;
        let (found, model, _) = key.value();
        if found != user {
            return Ok(models);
        }
        models.push(ModelId::new(model).map_err(|_| {
            file.file.corrupt("postings", format!("{:?}", key.value()), Damage::Value)
        })?);
    }
}
