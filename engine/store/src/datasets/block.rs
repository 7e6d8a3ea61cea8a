//! Owns the bytes of a block of rows.
//!
//! ```text
//! rows           u32   little endian, as all numbers
//! feature_count  u32   0 in a block of texts
//! raw_bytes      u32   of what follows, before compression
//! zstd, level 1, of
//!   features     rows * feature_count * 4 bytes: all first bytes, then all second bytes, ...
//!   rest         postcard, row by row: created_us, label, metadata; of texts the text behind
//! ```
//!
//! Blocks of features are as they were before there were texts; a build that knows none reports a
//! block of them as damaged and serves nothing of it.
//! The bytes of floats are sorted by their place because signs and exponents of neighbours are
//! alike, which zstd then finds. Refuses to know where blocks are kept. Bound: [`BLOCK_BYTES`]
//! before compression or one row; [`RAW_BYTES_MAX`] is checked before anything is allocated.

use std::io;

use serde::{Deserialize, Serialize};
use truststram_base::limits::{FEATURE_COUNT_MAX, TEXT_BYTES_MAX};

use super::row::LABEL_BYTES_MAX;
use super::{TrainingRow, block_context};
use crate::containment::DOCUMENT_BYTES_MAX;
use crate::envelope::{self, HEADER_BYTES};
use crate::error::Damage;

/// A block takes rows in up to this many bytes, as [`row_bytes`] counts them.
pub(super) const BLOCK_BYTES: usize = 64 << 10;
/// Most rows of a block: a row has a feature or a byte of text at least.
pub(super) const BLOCK_ROW_COUNT_MAX: usize = BLOCK_BYTES / ROW_OVERHEAD_BYTES;
/// Most bytes of a block before compression: full but for one byte, and the largest row.
const RAW_BYTES_MAX: usize =
    BLOCK_BYTES + INPUT_BYTES_MAX + LABEL_BYTES_MAX + DOCUMENT_BYTES_MAX + ROW_OVERHEAD_BYTES;
/// The largest input: the most features, or the longest text.
const INPUT_BYTES_MAX: usize =
    if FEATURE_COUNT_MAX * 4 > TEXT_BYTES_MAX { FEATURE_COUNT_MAX * 4 } else { TEXT_BYTES_MAX };
/// The time, three lengths and a tag, at their longest.
const ROW_OVERHEAD_BYTES: usize = 20;
const LEVEL: i32 = 1;
const PREFIX_BYTES: usize = 12;

/// What a row has beside its input.
#[derive(Serialize)]
struct RestRef<'a> {
    created_us: i64,
    label: Option<&'a str>,
    metadata_json: &'a str,
}

#[derive(Deserialize)]
struct Rest {
    created_us: i64,
    label: Option<String>,
    metadata_json: String,
}

/// What a row adds to a block before compression, at most.
pub(super) fn row_bytes(row: &TrainingRow) -> usize {
    let label = row.label.as_ref().map_or(0, String::len);
    row.input_bytes() + label + row.metadata_json.len() + ROW_OVERHEAD_BYTES
}

/// The frame of a block. All rows have as many features as the first, or texts as it has.
pub(super) fn encode(
    name: &str,
    first_id: u64,
    rows: &[TrainingRow],
) -> Result<Vec<u8>, io::Error> {
    let feature_count = rows.first().map_or(0, |row| row.features.len());
    let mut raw = Vec::with_capacity(rows.iter().map(row_bytes).sum());
    for place in 0..size_of::<f32>() {
        let features = rows.iter().flat_map(|row| &row.features);
        raw.extend(features.map(|feature| feature.to_le_bytes()[place]));
    }
    for row in rows {
        let rest = RestRef {
            created_us: row.created_us,
            label: row.label.as_deref(),
            metadata_json: &row.metadata_json,
        };
        raw = postcard::to_extend(&rest, raw).map_err(io::Error::other)?;
        if let Some(text) = &row.text {
            raw = postcard::to_extend(text, raw).map_err(io::Error::other)?;
        }
    }
    let mut frame = vec![0; HEADER_BYTES];
    for number in [rows.len(), feature_count, raw.len()] {
        let number = u32::try_from(number).map_err(io::Error::other)?;
        frame.extend_from_slice(&number.to_le_bytes());
    }
    frame.extend_from_slice(&zstd::bulk::compress(&raw, LEVEL)?);
    envelope::seal(block_context("blocks", name, first_id), &mut frame);
    Ok(frame)
}

/// The rows of a block.
pub(super) fn decode(
    (name, first_id): (&str, u64),
    frame: &[u8],
) -> Result<Vec<TrainingRow>, Damage> {
    let body = envelope::open(block_context("blocks", name, first_id), frame)?;
    let (prefix, compressed) = body.split_first_chunk::<PREFIX_BYTES>().ok_or(Damage::Length)?;
    let number = |at: usize| {
        let bytes = [prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]];
        usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
    };
    let (row_count, feature_count, raw_bytes) = (number(0), number(4), number(8));
    let is_possible = (1..=BLOCK_ROW_COUNT_MAX).contains(&row_count)
        && feature_count <= FEATURE_COUNT_MAX
        && raw_bytes <= RAW_BYTES_MAX;
    if !is_possible {
        return Err(Damage::Value);
    }
    let raw = zstd::bulk::decompress(compressed, raw_bytes).map_err(|_| Damage::Value)?;
    let feature_total = row_count * feature_count;
    if raw.len() != raw_bytes || raw.len() < feature_total * size_of::<f32>() {
        return Err(Damage::Length);
    }
    let (features, mut rest) = raw.split_at(feature_total * size_of::<f32>());
    let feature = |at: usize| {
        let byte = |place: usize| features[place * feature_total + at];
        f32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
    };
    let mut rows = Vec::with_capacity(row_count);
    for (at, id) in (0..row_count).zip(first_id..) {
        let (row, behind): (Rest, _) =
            postcard::take_from_bytes(rest).map_err(|_| Damage::Value)?;
        rest = behind;
        let mut text = None;
        if feature_count == 0 {
            let (of_row, behind): (String, _) =
                postcard::take_from_bytes(rest).map_err(|_| Damage::Value)?;
            rest = behind;
            text = Some(of_row);
        }
        rows.push(TrainingRow {
            id,
            created_us: row.created_us,
            features: (at * feature_count..(at + 1) * feature_count).map(feature).collect(),
            text,
            label: row.label,
            metadata_json: row.metadata_json,
        });
    }
    if rest.is_empty() { Ok(rows) } else { Err(Damage::Length) }
}
