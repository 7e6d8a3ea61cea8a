//! Owns the bytes of a log entry: the rows of one group.
//!
//! An entry begins at a multiple of [`SECTOR_BYTES`] and fills whole sectors, so that writing one
//! never touches a sector of another that was acknowledged. Integers are little endian:
//!
//! ```text
//! magic           8 bytes   "TSENTRY1"
//! epoch           u64       the turn it belongs to
//! first_sequence  u64
//! row_count       u32
//! payload_bytes   u32
//! checksum        u64       XXH3-64 of the bytes before and of the payload, seeded with the
//!                           turn's salt and the entry's place
//! payload         the rows, each as below
//! zeros           up to a multiple of 512 bytes
//!
//! model_bytes     u8
//! user_bytes      u8        0: no user
//! version         u32
//! class           u32
//! confidence      f32
//! timestamp_us    i64
//! request         u128
//! feature_count   u32
//! model, user, features (f32 each)
//! ```
//!
//! Refuses to know files. Bound: [`ENTRY_BYTES_MAX`].

use truststram_base::{ModelId, ModelVersion, PredictionRecord, RequestId, UserId};
use xxhash_rust::xxh3::Xxh3;

use crate::error::Damage;
use crate::fields::Fields;

use super::header::Header;

/// Entries begin at multiples of this, the unit that disks write whole.
pub(crate) const SECTOR_BYTES: u64 = 512;
/// Most bytes of an entry. A group that is larger is several entries.
pub(crate) const ENTRY_BYTES_MAX: usize = 4 << 20;
/// Bytes before the payload.
pub(crate) const HEAD_BYTES: usize = 40;

const MAGIC: &[u8; 8] = b"TSENTRY1";
const CHECKED_BYTES: usize = HEAD_BYTES - size_of::<u64>();
/// A row without its model, user and features.
const ROW_HEAD_BYTES: usize = 1 + 1 + 4 + 4 + 4 + 8 + 16 + 4;

/// What precedes the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) epoch: u64,
    pub(crate) first_sequence: u64,
    pub(crate) row_count: u32,
    pub(crate) payload_bytes: u32,
    checksum: u64,
}

impl Head {
    /// `None` if no entry begins with these bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        if fields.array::<8>().ok()? != *MAGIC {
            return None;
        }
        let mut number = || fields.array().ok().map(u64::from_le_bytes);
        let (epoch, first_sequence, counts, checksum) =
            (number()?, number()?, number()?, number()?);
        let row_count = (counts & u64::from(u32::MAX)) as u32;
        let payload_bytes = (counts >> 32) as u32;
        Some(Self { epoch, first_sequence, row_count, payload_bytes, checksum })
    }

    /// Bytes of the whole entry on disk.
    pub(crate) fn entry_bytes(&self) -> u64 {
        (HEAD_BYTES as u64 + u64::from(self.payload_bytes)).next_multiple_of(SECTOR_BYTES)
    }

    /// Whether `bytes`, the entry without its zeros, is what was written at `place` in this turn.
    pub(crate) fn is_sound(&self, turn: &Header, place: u64, bytes: &[u8]) -> bool {
        bytes.len() == HEAD_BYTES + self.payload_bytes as usize
            && self.epoch == turn.epoch
            && self.checksum == checksum(turn, place, bytes)
    }
}

fn checksum(turn: &Header, place: u64, entry: &[u8]) -> u64 {
    let mut hash = Xxh3::with_seed(turn.salt ^ place);
    hash.update(&entry[..CHECKED_BYTES]);
    hash.update(&entry[HEAD_BYTES..]);
    hash.digest()
}

/// Builds entries in memory that is used again.
#[derive(Debug)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    row_count: u32,
    bytes_max: usize,
}

impl Encoder {
    /// For entries of at most `bytes_max` bytes, except that one row always fits.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), row_count: 0, bytes_max: bytes_max.min(ENTRY_BYTES_MAX) }
    }

    /// Begins an entry.
    pub(crate) fn start(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEAD_BYTES, 0);
        self.row_count = 0;
    }

    /// Adds a row; `false` if there is no room for it, which never is so for the first.
    pub(crate) fn push(&mut self, record: &PredictionRecord) -> bool {
        let user = record.user.as_ref().map_or("", UserId::as_str);
        let model = record.model.as_str();
        let feature_bytes = record.features.len() * size_of::<f32>();
        let row_bytes = ROW_HEAD_BYTES + model.len() + user.len() + feature_bytes;
        if self.row_count > 0 && self.bytes.len() + row_bytes > self.bytes_max {
            return false;
        }
        let bytes = &mut self.bytes;
        bytes.reserve(row_bytes);
        // Ids are checked when they are made: none is longer than 128 bytes.
        bytes.push(u8::try_from(model.len()).unwrap_or(u8::MAX));
        bytes.push(u8::try_from(user.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(&record.version.0.to_le_bytes());
        bytes.extend_from_slice(&record.class.to_le_bytes());
        bytes.extend_from_slice(&record.confidence.to_le_bytes());
        bytes.extend_from_slice(&record.timestamp_us.to_le_bytes());
        bytes.extend_from_slice(&record.request.0.to_le_bytes());
        let feature_count = u32::try_from(record.features.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&feature_count.to_le_bytes());
        bytes.extend_from_slice(model.as_bytes());
        bytes.extend_from_slice(user.as_bytes());
        let start = bytes.len();
        bytes.resize(start + feature_bytes, 0);
        for (to, feature) in bytes[start..].as_chunks_mut().0.iter_mut().zip(&record.features) {
            *to = feature.to_le_bytes();
        }
        self.row_count += 1;
        true
    }

    /// Bytes that the entry will have on disk.
    pub(crate) fn entry_bytes(&self) -> u64 {
        (self.bytes.len() as u64).next_multiple_of(SECTOR_BYTES)
    }

    /// Rows of the entry.
    pub(crate) fn row_count(&self) -> u32 {
        self.row_count
    }

    /// The finished entry for `place` of the turn, with its zeros.
    pub(crate) fn finish(&mut self, turn: &Header, place: u64, first_sequence: u64) -> &[u8] {
        let payload_bytes = u32::try_from(self.bytes.len() - HEAD_BYTES).unwrap_or(u32::MAX);
        let head = &mut self.bytes[..HEAD_BYTES];
        head[..8].copy_from_slice(MAGIC);
        head[8..16].copy_from_slice(&turn.epoch.to_le_bytes());
        head[16..24].copy_from_slice(&first_sequence.to_le_bytes());
        head[24..28].copy_from_slice(&self.row_count.to_le_bytes());
        head[28..32].copy_from_slice(&payload_bytes.to_le_bytes());
        let checksum = checksum(turn, place, &self.bytes);
        self.bytes[CHECKED_BYTES..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
        let length = self.bytes.len().next_multiple_of(SECTOR_BYTES as usize);
        self.bytes.resize(length, 0);
        &self.bytes
    }
}

/// The rows of a sound entry.
pub(crate) fn decode(head: &Head, entry: &[u8]) -> Result<Vec<PredictionRecord>, Damage> {
    let mut fields = Fields::new(entry.get(HEAD_BYTES..).ok_or(Damage::Length)?);
    let mut rows = Vec::new();
    for _ in 0..head.row_count {
        rows.push(decode_row(&mut fields)?);
    }
    if fields.is_empty() { Ok(rows) } else { Err(Damage::Length) }
}

fn decode_row(fields: &mut Fields<'_>) -> Result<PredictionRecord, Damage> {
    let [model_bytes, user_bytes] = fields.array()?;
    let version = u32::from_le_bytes(fields.array()?);
    let class = u32::from_le_bytes(fields.array()?);
    let confidence = f32::from_le_bytes(fields.array()?);
    let timestamp_us = i64::from_le_bytes(fields.array()?);
    let request = u128::from_le_bytes(fields.array()?);
    let feature_count = u32::from_le_bytes(fields.array()?) as usize;
    let model = ModelId::new(fields.text(model_bytes.into())?).map_err(|_| Damage::Value)?;
    let user = match fields.text(user_bytes.into())? {
        "" => None,
        user => Some(UserId::new(user).map_err(|_| Damage::Value)?),
    };
    let features = fields.slice(feature_count.saturating_mul(size_of::<f32>()))?;
    Ok(PredictionRecord {
        request: RequestId(request),
        model,
        version: ModelVersion(version),
        user,
        timestamp_us,
        features: features.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        class,
        confidence,
    })
}
