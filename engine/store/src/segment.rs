//! Owns the bytes of a segment: rows of one model that were committed together.
//!
//! One value per row would cost a tree insertion per row and index, about 16 µs; a segment costs
//! one insertion for some two hundred rows. Layout after the envelope, integers little endian:
//!
//! ```text
//! model_bytes      u8
//! model            model_bytes bytes
//! first_sequence   u64
//! row_count        u32
//! row_count times:
//!   sequence_delta u32    sequence - first_sequence, ascending
//!   timestamp_us   i64
//!   request        u128
//!   version        u32
//!   class          u32
//!   confidence     f32
//!   user_bytes     u8     0: no user
//!   feature_count  u32
//!   user           user_bytes bytes
//!   features       feature_count times f32
//! ```
//!
//! Refuses to know files and tables. Bound: [`SEGMENT_BYTES_MAX`], except that a single row which
//! is larger has a segment of its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use truststram_base::{ModelId, ModelVersion, PredictionRecord, RequestId, UserId};

use crate::envelope::{self, HEADER_BYTES};
use crate::error::Damage;
use crate::month::Month;

/// redb rounds a large value up to a power of two of its 4 KiB pages, keys and headers included;
/// 512 bytes are left for those.
pub(crate) const SEGMENT_BYTES_MAX: usize = (64 << 10) - 512;

/// Everything of a row but the user and the features.
const ROW_HEAD_BYTES: usize = 4 + 8 + 16 + 4 + 4 + 4 + 1 + 4;

/// A sealed segment and what the indexes say about it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) model: ModelId,
    /// Who has rows in it.
    pub(crate) users: HashSet<UserId>,
    /// Sequence of its first row.
    first_sequence: u64,
    /// Sequence of its last row: its key.
    pub(crate) last_sequence: u64,
    pub(crate) row_count: u32,
    /// Earliest and latest timestamp of its rows.
    pub(crate) min_us: i64,
    pub(crate) max_us: i64,
    /// The envelope.
    pub(crate) frame: Vec<u8>,
}

/// Gives `records` consecutive sequences from `next_sequence` on and packs them into segments by
/// month and model. Within a month, segments of one model ascend and do not overlap.
pub(crate) fn encode<'a>(
    records: impl Iterator<Item = &'a PredictionRecord>,
    next_sequence: &mut u64,
) -> BTreeMap<Month, Vec<Segment>> {
    let mut sealed: BTreeMap<Month, Vec<Segment>> = BTreeMap::new();
    let mut open: HashMap<(Month, ModelId), Segment> = HashMap::new();
    for record in records {
        let sequence = *next_sequence;
        *next_sequence += 1;
        let month = Month::of(record.timestamp_us);
        let segment = open
            .entry((month, record.model.clone()))
            .or_insert_with(|| Segment::start(&record.model, sequence));
        if segment.row_count > 0 && !segment.has_room_for(record) {
            let full = std::mem::replace(segment, Segment::start(&record.model, sequence));
            sealed.entry(month).or_default().push(full.seal());
        }
        segment.push(record, sequence);
    }
    for ((month, _), segment) in open {
        sealed.entry(month).or_default().push(segment.seal());
    }
    sealed
}

impl Segment {
    fn start(model: &ModelId, first_sequence: u64) -> Self {
        let mut frame = vec![0; HEADER_BYTES];
        frame.push(length_byte(model.as_str()));
        frame.extend_from_slice(model.as_str().as_bytes());
        frame.extend_from_slice(&first_sequence.to_le_bytes());
        frame.extend_from_slice(&[0; 4]);
        Self {
            model: model.clone(),
            users: HashSet::new(),
            first_sequence,
            last_sequence: first_sequence,
            row_count: 0,
            min_us: i64::MAX,
            max_us: i64::MIN,
            frame,
        }
    }

    fn has_room_for(&self, record: &PredictionRecord) -> bool {
        let user_bytes = record.user.as_ref().map_or(0, |user| user.as_str().len());
        let row_bytes = ROW_HEAD_BYTES + user_bytes + record.features.len() * size_of::<f32>();
        self.frame.len() + row_bytes <= SEGMENT_BYTES_MAX
            && u32::try_from(self.last_sequence - self.first_sequence).is_ok_and(|d| d < u32::MAX)
    }

    fn push(&mut self, record: &PredictionRecord, sequence: u64) {
        let user = record.user.as_ref().map_or("", UserId::as_str);
        let frame = &mut self.frame;
        let delta = u32::try_from(sequence - self.first_sequence).unwrap_or(u32::MAX);
        let feature_count = u32::try_from(record.features.len()).unwrap_or(u32::MAX);
        frame.extend_from_slice(&delta.to_le_bytes());
        frame.extend_from_slice(&record.timestamp_us.to_le_bytes());
        frame.extend_from_slice(&record.request.0.to_le_bytes());
        frame.extend_from_slice(&record.version.0.to_le_bytes());
        frame.extend_from_slice(&record.class.to_le_bytes());
        frame.extend_from_slice(&record.confidence.to_le_bytes());
        frame.push(length_byte(user));
        frame.extend_from_slice(&feature_count.to_le_bytes());
        frame.extend_from_slice(user.as_bytes());
        // Sizing first lets the compiler turn the loop into one bulk copy.
        let start = frame.len();
        frame.resize(start + record.features.len() * size_of::<f32>(), 0);
        for (bytes, feature) in frame[start..].as_chunks_mut().0.iter_mut().zip(&record.features) {
            *bytes = feature.to_le_bytes();
        }
        if let Some(user) = &record.user
            && !self.users.contains(user)
        {
            self.users.insert(user.clone());
        }
        self.last_sequence = sequence;
        self.row_count += 1;
        self.min_us = self.min_us.min(record.timestamp_us);
        self.max_us = self.max_us.max(record.timestamp_us);
    }

    fn seal(mut self) -> Self {
        let count_at = HEADER_BYTES + 1 + self.model.as_str().len() + size_of::<u64>();
        self.frame[count_at..count_at + 4].copy_from_slice(&self.row_count.to_le_bytes());
        envelope::seal(self.last_sequence, &mut self.frame);
        self
    }
}

/// Ids are checked when they are made: none is longer than 128 bytes.
fn length_byte(id: &str) -> u8 {
    u8::try_from(id.len()).unwrap_or(u8::MAX)
}

/// Which rows of a segment are wanted.
#[derive(Clone, Debug)]
pub(crate) struct RowFilter {
    /// Empty: everybody's.
    pub(crate) user: String,
    /// Inclusive.
    pub(crate) since_us: i64,
    /// Inclusive.
    pub(crate) until_us: i64,
    /// Exclusive.
    pub(crate) before: u64,
}

/// A row's sequence and where its bytes start in the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowPlace {
    pub(crate) sequence: u64,
    offset: usize,
}

/// The body of the segment with the key `last_sequence`, after its checksum was compared.
pub(crate) fn open(frame: &[u8], last_sequence: u64) -> Result<&[u8], Damage> {
    envelope::open(last_sequence, frame)
}

/// The rows of `body` that `filter` wants, ascending.
pub(crate) fn find_rows(
    body: &[u8],
    model: &ModelId,
    filter: &RowFilter,
) -> Result<Vec<RowPlace>, Damage> {
    let mut fields = Fields { rest: body };
    let model_bytes = usize::from(fields.byte()?);
    if fields.slice(model_bytes)? != model.as_str().as_bytes() {
        return Err(Damage::Value);
    }
    let first_sequence = u64::from_le_bytes(fields.array()?);
    let row_count = u32::from_le_bytes(fields.array()?);
    let mut places = Vec::new();
    for _ in 0..row_count {
        let offset = body.len() - fields.rest.len();
        let row = Row::read(&mut fields)?;
        let sequence = first_sequence + u64::from(row.sequence_delta);
        if sequence < filter.before
            && (filter.since_us..=filter.until_us).contains(&row.timestamp_us)
            && (filter.user.is_empty() || row.user == filter.user.as_bytes())
        {
            places.push(RowPlace { sequence, offset });
        }
    }
    if fields.rest.is_empty() { Ok(places) } else { Err(Damage::Length) }
}

/// The record at `place`, which [`find_rows`] gave for the same body.
pub(crate) fn decode(
    body: &[u8],
    place: RowPlace,
    model: &ModelId,
) -> Result<PredictionRecord, Damage> {
    let rest = body.get(place.offset..).ok_or(Damage::Length)?;
    let row = Row::read(&mut Fields { rest })?;
    let user = match row.user {
        [] => None,
        user => {
            let user = std::str::from_utf8(user).map_err(|_| Damage::Value)?;
            Some(UserId::new(user).map_err(|_| Damage::Value)?)
        }
    };
    Ok(PredictionRecord {
        request: RequestId(row.request),
        model: model.clone(),
        version: ModelVersion(row.version),
        user,
        timestamp_us: row.timestamp_us,
        features: row.features.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        class: row.class,
        confidence: row.confidence,
    })
}

struct Row<'a> {
    sequence_delta: u32,
    timestamp_us: i64,
    request: u128,
    version: u32,
    class: u32,
    confidence: f32,
    user: &'a [u8],
    features: &'a [u8],
}

impl<'a> Row<'a> {
    fn read(fields: &mut Fields<'a>) -> Result<Self, Damage> {
        let sequence_delta = u32::from_le_bytes(fields.array()?);
        let timestamp_us = i64::from_le_bytes(fields.array()?);
        let request = u128::from_le_bytes(fields.array()?);
        let version = u32::from_le_bytes(fields.array()?);
        let class = u32::from_le_bytes(fields.array()?);
        let confidence = f32::from_le_bytes(fields.array()?);
        let user_bytes = usize::from(fields.byte()?);
        let feature_count = u32::from_le_bytes(fields.array()?);
        let feature_count = usize::try_from(feature_count).map_err(|_| Damage::Value)?;
        let user = fields.slice(user_bytes)?;
        let features = fields.slice(feature_count.saturating_mul(size_of::<f32>()))?;
        Ok(Self {
            sequence_delta,
            timestamp_us,
            request,
            version,
            class,
            confidence,
            user,
            features,
        })
    }
}

/// Takes fields off the front of a body and never reads past its end.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Damage::Length)?;
        self.rest = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, Damage> {
        self.array().map(|[byte]| byte)
    }

    fn slice(&mut self, bytes: usize) -> Result<&'a [u8], Damage> {
        let (slice, rest) = self.rest.split_at_checked(bytes).ok_or(Damage::Length)?;
        self.rest = rest;
        Ok(slice)
    }
}
