//! Owns the bytes of a segment. Layout after the envelope, integers little endian:
//!
//! ```text
//! model_bytes      u8
//! model            model_bytes bytes
//! first_sequence   u64
//! row_count        u32
//! raw_bytes        u32      of the columns before compression
//! columns          zstd
//! ```
//!
//! The columns, one after the other, `planes` as in [`super::shuffle`]:
//!
//! ```text
//! sequence_delta   planes of u32   sequence - first_sequence, ascending
//! timestamp_delta  planes of i64   to the row before; of the first row, to 0
//! version          planes of u32
//! class            planes of u32
//! confidence       planes of f32
//! feature_count    planes of u32
//! user_bytes       u8 each         0: no user
//! request          u128 each
//! users            one after the other
//! features         planes of f32, of all rows together
//! ```
//!
//! Refuses to know how many rows are wise. Bound: [`RAW_BYTES_MAX`].

use std::sync::Arc;

use truststram_base::{ModelId, ModelVersion, PredictionRecord, RequestId, UserId};

use super::shuffle::{join4, join8, split};
use crate::envelope::{self, HEADER_BYTES};
use crate::error::Damage;
use crate::fields::Fields;
use crate::row::{Row, RowFilter};

/// Most bytes of the columns before compression; one row with the most features fits.
pub(crate) const RAW_BYTES_MAX: usize = 512 << 10;
/// Bytes of a row without its user and features.
const ROW_BYTES: usize = 4 + 8 + 4 + 4 + 4 + 4 + 1 + 16;

/// Bytes of a row before compression.
pub(super) fn raw_bytes(record: &PredictionRecord) -> usize {
    let user_bytes = record.user.as_ref().map_or(0, |user| user.as_str().len());
    ROW_BYTES + user_bytes + record.features.len() * size_of::<f32>()
}

/// Writes the columns of `rows`, ascending and of one model.
pub(super) fn write_columns(rows: &[Arc<Row>], out: &mut Vec<u8>) {
    let first_sequence = rows.first().map_or(0, |row| row.sequence);
    let records = || rows.iter().map(|row| &row.record);
    split(
        rows.iter().map(|row| {
            u32::try_from(row.sequence - first_sequence).unwrap_or(u32::MAX).to_le_bytes()
        }),
        out,
    );
    let mut before_us = 0_i64;
    split(
        records().map(|record| {
            let delta = record.timestamp_us.wrapping_sub(before_us);
            before_us = record.timestamp_us;
            delta.to_le_bytes()
        }),
        out,
    );
    split(records().map(|record| record.version.0.to_le_bytes()), out);
    split(records().map(|record| record.class.to_le_bytes()), out);
    split(records().map(|record| record.confidence.to_le_bytes()), out);
    let feature_count =
        |record: &PredictionRecord| u32::try_from(record.features.len()).unwrap_or(u32::MAX);
    split(records().map(|record| feature_count(record).to_le_bytes()), out);
    out.extend(records().map(|record| {
        let bytes = record.user.as_ref().map_or(0, |user| user.as_str().len());
        u8::try_from(bytes).unwrap_or(u8::MAX)
    }));
    out.extend(records().flat_map(|record| record.request.0.to_le_bytes()));
    for user in records().filter_map(|record| record.user.as_ref()) {
        out.extend_from_slice(user.as_str().as_bytes());
    }
    let features: Vec<f32> = records().flat_map(|record| record.features.iter().copied()).collect();
    split(features.iter().map(|feature| feature.to_le_bytes()), out);
}

/// The frame of a segment whose columns are compressed already.
pub(super) fn frame(model: &ModelId, rows: &[Arc<Row>], raw: usize, packed: &[u8]) -> Vec<u8> {
    let (first, last) = match rows {
        [] => (0, 0),
        [first, ..] => (first.sequence, rows[rows.len() - 1].sequence),
    };
    let model = model.as_str();
    let mut frame = Vec::with_capacity(HEADER_BYTES + 17 + model.len() + packed.len());
    frame.resize(HEADER_BYTES, 0);
    frame.push(u8::try_from(model.len()).unwrap_or(u8::MAX));
    frame.extend_from_slice(model.as_bytes());
    frame.extend_from_slice(&first.to_le_bytes());
    frame.extend_from_slice(&u32::try_from(rows.len()).unwrap_or(u32::MAX).to_le_bytes());
    frame.extend_from_slice(&u32::try_from(raw).unwrap_or(u32::MAX).to_le_bytes());
    frame.extend_from_slice(packed);
    envelope::seal(last, &mut frame);
    frame
}

/// The columns of a segment, ready to be read.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) model: ModelId,
    /// Ascending.
    pub(crate) sequences: Vec<u64>,
    pub(crate) timestamps_us: Vec<i64>,
    versions: Vec<u32>,
    pub(crate) classes: Vec<u32>,
    pub(crate) confidences: Vec<f32>,
    requests: Vec<u128>,
    /// Where each row's user ends in `users`.
    user_ends: Vec<u32>,
    users: String,
    /// Where each row's features end in `features`.
    feature_ends: Vec<u32>,
    features: Vec<f32>,
    /// Size of the stored frame.
    pub(crate) stored_bytes: usize,
}

/// Reads the segment with the key `last_sequence`, after its checksum is compared.
pub(crate) fn decode(frame: &[u8], last_sequence: u64) -> Result<Columns, Damage> {
    let mut fields = Fields::new(envelope::open(last_sequence, frame)?);
    let model_bytes = fields.byte()?;
    let model = ModelId::new(fields.text(model_bytes.into())?).map_err(|_| Damage::Value)?;
    let first_sequence = u64::from_le_bytes(fields.array()?);
    let count = u32::from_le_bytes(fields.array()?) as usize;
    let raw_bytes = u32::from_le_bytes(fields.array()?) as usize;
    if raw_bytes > RAW_BYTES_MAX || count.saturating_mul(ROW_BYTES) > raw_bytes {
        return Err(Damage::Value);
    }
    let raw = zstd::bulk::decompress(fields.rest(), raw_bytes).map_err(|_| Damage::Value)?;
    if raw.len() != raw_bytes {
        return Err(Damage::Length);
    }
    let mut fields = Fields::new(&raw);
    let numbers = |fields: &mut Fields<'_>| -> Result<Vec<u32>, Damage> {
        Ok(join4(fields.slice(count * 4)?).map(u32::from_le_bytes).collect())
    };
    let deltas = numbers(&mut fields)?;
    let timestamp_deltas = fields.slice(count * 8)?;
    let versions = numbers(&mut fields)?;
    let classes = numbers(&mut fields)?;
    let confidences = numbers(&mut fields)?.into_iter().map(f32::from_bits).collect();
    let mut feature_ends = numbers(&mut fields)?;
    let feature_count = running_ends(&mut feature_ends)?;
    let mut user_ends: Vec<u32> =
        fields.slice(count)?.iter().map(|&bytes| u32::from(bytes)).collect();
    let user_bytes = running_ends(&mut user_ends)?;
    let requests = fields.slice(count * 16)?;
    let users = fields.text(user_bytes)?.to_owned();
    if !user_ends.iter().all(|&end| users.is_char_boundary(end as usize)) {
        return Err(Damage::Value);
    }
    let features = fields.slice(feature_count.saturating_mul(4))?;
    if !fields.is_empty() {
        return Err(Damage::Length);
    }
    let mut timestamp_us = 0_i64;
    Ok(Columns {
        model,
        sequences: deltas.iter().map(|&delta| first_sequence + u64::from(delta)).collect(),
        timestamps_us: join8(timestamp_deltas)
            .map(|delta| {
                timestamp_us = timestamp_us.wrapping_add(i64::from_le_bytes(delta));
                timestamp_us
            })
            .collect(),
        versions,
        classes,
        confidences,
        requests: requests.as_chunks().0.iter().map(|&id| u128::from_le_bytes(id)).collect(),
        user_ends,
        users,
        feature_ends,
        features: join4(features).map(f32::from_le_bytes).collect(),
        stored_bytes: frame.len(),
    })
}

/// Turns lengths into the ends of what has them, and returns the last end.
fn running_ends(lengths: &mut [u32]) -> Result<usize, Damage> {
    let mut end = 0_u32;
    for length in lengths {
        end = end.checked_add(*length).ok_or(Damage::Value)?;
        *length = end;
    }
    Ok(end as usize)
}

impl Columns {
    pub(crate) fn row_count(&self) -> usize {
        self.sequences.len()
    }

    /// Memory that it takes, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.row_count() * (8 + 8 + 4 + 4 + 4 + 16 + 4 + 4)
            + self.users.len()
            + self.features.len() * size_of::<f32>()
    }

    /// The user of a row; empty if there is none.
    pub(crate) fn user(&self, at: usize) -> &str {
        let (start, end) = span(&self.user_ends, at);
        self.users.get(start..end).unwrap_or_default()
    }

    /// Whether the row is wanted, the model aside.
    pub(crate) fn is_wanted(&self, at: usize, filter: &RowFilter) -> bool {
        self.sequences[at] < filter.before
            && filter.has_time(self.timestamps_us[at])
            && filter.user.as_ref().is_none_or(|user| user.as_str() == self.user(at))
    }

    /// The row itself.
    pub(crate) fn row(&self, at: usize) -> Result<Row, Damage> {
        let user = match self.user(at) {
            "" => None,
            user => Some(UserId::new(user).map_err(|_| Damage::Value)?),
        };
        let (start, end) = span(&self.feature_ends, at);
        let record = PredictionRecord {
            request: RequestId(self.requests[at]),
            model: self.model.clone(),
            version: ModelVersion(self.versions[at]),
            user,
            timestamp_us: self.timestamps_us[at],
            features: self.features.get(start..end).ok_or(Damage::Length)?.to_vec(),
            class: self.classes[at],
            confidence: self.confidences[at],
        };
        Ok(Row { sequence: self.sequences[at], record })
    }
}

fn span(ends: &[u32], at: usize) -> (usize, usize) {
    let start = if at == 0 { 0 } else { ends[at - 1] };
    (start as usize, ends[at] as usize)
}
