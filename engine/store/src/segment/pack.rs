//! Owns how rows are divided into segments.
//!
//! redb gives a large value a power of two of its 4 KiB pages, so that a value just above one
//! wastes half of its place. The packer therefore adds or takes rows until the compressed segment
//! fills such a place nearly; rows of one model compress alike, so its guess from the segment
//! before is mostly right at once.
//! Refuses to know tables. Bound: raw bytes of a segment between [`RAW_BYTES_LOW`] and
//! [`RAW_BYTES_HIGH`], except that a single larger row has a segment of its own.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use truststram_base::{ModelId, UserId};
use xxhash_rust::xxh3::xxh3_64;

use super::columns::{frame, raw_bytes, write_columns};
use crate::row::Row;

/// Least and most raw bytes of a segment that is not the last of its rows.
const RAW_BYTES_LOW: usize = 40 << 10;
const RAW_BYTES_HIGH: usize = 96 << 10;
/// The page of redb, and what of a value's place goes to keys and headers.
const PAGE_BYTES: usize = 4_096;
const PLACE_OVERHEAD_BYTES: usize = 512;
/// Part of a place that is filled well.
const FILL_WANTED: f64 = 0.96;
const FILL_ENOUGH: f64 = 0.80;
/// Times that one segment is compressed at most.
const TRIES_MAX: usize = 4;
/// Of the levels, as `benches/store-compression.sh` prints them, this one costs the least time per
/// byte that it saves.
const ZSTD_LEVEL: i32 = 1;
/// zstd's level that compresses least.
const STORED_LEVEL: i32 = -131_072;

/// A segment, ready to be stored, and what the indexes say about it.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) model: ModelId,
    /// Sequence of its first row.
    pub(crate) first_sequence: u64,
    /// Sequence of its last row: its key.
    pub(crate) last_sequence: u64,
    pub(crate) row_count: u32,
    /// Earliest and latest timestamp of its rows.
    pub(crate) min_us: i64,
    pub(crate) max_us: i64,
    /// Hashes of the users who have rows in it.
    pub(crate) users: HashSet<u64>,
    /// The envelope.
    pub(crate) frame: Vec<u8>,
}

/// How a user is named in the index.
pub(crate) fn user_hash(user: &str) -> u64 {
    xxh3_64(user.as_bytes())
}

/// Divides rows into segments; memory is used again.
pub(crate) struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    raw: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    pub(crate) fn new() -> io::Result<Self> {
        Self::at_level(ZSTD_LEVEL)
    }

    /// At another level of zstd; 0 stores bytes as they are, in frames of zstd.
    pub(super) fn at_level(level: i32) -> io::Result<Self> {
        // Negative levels are faster and compress less; far enough down nothing is left of it.
        let level = if level == 0 { STORED_LEVEL } else { level };
        let compressor = zstd::bulk::Compressor::new(level)?;
        Ok(Self { compressor, raw: Vec::new(), packed: Vec::new() })
    }

    /// The segments of `rows`, which ascend and are all of `model`.
    pub(crate) fn pack(&mut self, model: &ModelId, rows: &[Arc<Row>]) -> io::Result<Vec<Sealed>> {
        let mut sealed = Vec::new();
        let mut rest = rows;
        let mut guess_raw = (RAW_BYTES_LOW + RAW_BYTES_HIGH) / 2;
        while !rest.is_empty() {
            let count = self.fill(rest, &mut guess_raw)?;
            let (taken, left) = rest.split_at(count);
            sealed.push(self.seal(model, taken));
            rest = left;
        }
        Ok(sealed)
    }

    /// Compresses as many of `rows` as fill a place well, and says how many those are.
    fn fill(&mut self, rows: &[Arc<Row>], guess_raw: &mut usize) -> io::Result<usize> {
        let mut count = self.compress(rows, *guess_raw)?;
        for _ in 1..TRIES_MAX {
            let place = place_of(self.packed.len());
            let fill = self.packed.len() as f64 / place as f64;
            if fill >= FILL_ENOUGH || (count == rows.len() && self.raw.len() <= RAW_BYTES_LOW) {
                break;
            }
            // The place below if that keeps the segment large enough, else this one, filled.
            let below = place_of(place / 2 - PLACE_OVERHEAD_BYTES) as f64;
            let scale = |place: f64| {
                (self.raw.len() as f64 * place * FILL_WANTED / self.packed.len() as f64) as usize
            };
            let smaller = scale(below);
            let wanted = if smaller >= RAW_BYTES_LOW { smaller } else { scale(place as f64) };
            let wanted = wanted.clamp(RAW_BYTES_LOW, RAW_BYTES_HIGH);
            let before = count;
            count = self.compress(rows, wanted)?;
            *guess_raw = wanted;
            if count == before {
                break;
            }
        }
        Ok(count)
    }

    /// Compresses the first rows of up to `raw_wanted` bytes, and says how many those are.
    fn compress(&mut self, rows: &[Arc<Row>], raw_wanted: usize) -> io::Result<usize> {
        let mut raw = 0;
        let fits = |row: &&Arc<Row>| {
            raw += raw_bytes(&row.record);
            raw <= raw_wanted
        };
        let count = rows.iter().take_while(fits).count().max(1);
        self.raw.clear();
        write_columns(&rows[..count], &mut self.raw);
        self.packed.clear();
        self.packed.resize(zstd::zstd_safe::compress_bound(self.raw.len()), 0);
        let bytes = self.compressor.compress_to_buffer(&self.raw, &mut self.packed)?;
        self.packed.truncate(bytes);
        Ok(count)
    }

    fn seal(&self, model: &ModelId, rows: &[Arc<Row>]) -> Sealed {
        let times = || rows.iter().map(|row| row.record.timestamp_us);
        let users = rows.iter().filter_map(|row| row.record.user.as_ref());
        Sealed {
            model: model.clone(),
            first_sequence: rows.first().map_or(0, |row| row.sequence),
            last_sequence: rows.last().map_or(0, |row| row.sequence),
            row_count: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            min_us: times().min().unwrap_or(i64::MAX),
            max_us: times().max().unwrap_or(i64::MIN),
            users: users.map(UserId::as_str).map(user_hash).collect(),
            frame: frame(model, rows, self.raw.len(), &self.packed),
        }
    }
}

/// What a value may have of the smallest place that holds `bytes`.
fn place_of(bytes: usize) -> usize {
    let place = (bytes + PLACE_OVERHEAD_BYTES).max(PAGE_BYTES).next_power_of_two();
    place - PLACE_OVERHEAD_BYTES
}
