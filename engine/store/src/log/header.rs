//! Owns the header of a log file, which says which of its entries count.
//!
//! ```text
//! magic           8 bytes   "TSTRMLOG"
//! layout          u32       1
//! month_count     u32       at most 24
//! epoch           u64       turns of both files, counted from 1
//! salt            u64       seeds the checksums of this turn's entries
//! first_sequence  u64       sequence of the turn's first row
//! months          of each: year * 100 + month u32, next_sequence u64
//! zeros
//! checksum        u64       at 504: XXH3-64 of the bytes before
//! ```
//!
//! The months say what their files had when the turn began: the rows of the turn before the last,
//! which this turn overwrites, among them. A file that has less after a crash shows that the disk
//! did not keep what it said it had.
//! A file has two places for it, used in turns, so that writing one never harms the other.
//! Refuses to know entries. Bound: [`HEADER_BYTES`].

use xxhash_rust::xxh3::xxh3_64;

use crate::fields::Fields;

/// Bytes of a header: one sector.
pub(crate) const HEADER_BYTES: usize = 512;
/// Most months that a header tells of; those that changed last.
pub(crate) const MONTH_COUNT_MAX: usize = 24;
/// Where the two headers are.
pub(crate) const HEADER_PLACES: [u64; 2] = [0, 4_096];
/// Where entries begin.
pub(crate) const ENTRIES_START: u64 = 8_192;

const MAGIC: &[u8; 8] = b"TSTRMLOG";
const LAYOUT: u32 = 1;
const CHECKED_BYTES: usize = HEADER_BYTES - size_of::<u64>();
const MONTHS_START: usize = 40;
const MONTH_BYTES: usize = 12;

/// One turn of a log file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) epoch: u64,
    pub(crate) salt: u64,
    pub(crate) first_sequence: u64,
    /// Months, as year * 100 + month, and the next sequence of their files.
    pub(crate) months: Vec<(u32, u64)>,
}

impl Header {
    /// Where it is kept: a file has every second turn.
    pub(crate) fn place(&self) -> u64 {
        HEADER_PLACES[usize::from(self.epoch / 2 % 2 == 1)]
    }

    pub(crate) fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let months = &self.months[..self.months.len().min(MONTH_COUNT_MAX)];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&LAYOUT.to_le_bytes());
        bytes[12] = u8::try_from(months.len()).unwrap_or(0);
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        bytes[32..MONTHS_START].copy_from_slice(&self.first_sequence.to_le_bytes());
        for (at, (month, next_sequence)) in months.iter().enumerate() {
            let place = &mut bytes[MONTHS_START + at * MONTH_BYTES..][..MONTH_BYTES];
            place[..4].copy_from_slice(&month.to_le_bytes());
            place[4..].copy_from_slice(&next_sequence.to_le_bytes());
        }
        let checksum = xxh3_64(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are no header that was written whole.
    pub(crate) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let mut checksum = Fields::new(&bytes[CHECKED_BYTES..]);
        if u64::from_le_bytes(checksum.array().ok()?) != xxh3_64(&bytes[..CHECKED_BYTES]) {
            return None;
        }
        let mut fields = Fields::new(bytes);
        if fields.array::<8>().ok()? != *MAGIC || u32::from_le_bytes(fields.array().ok()?) != LAYOUT
        {
            return None;
        }
        let month_count = u32::from_le_bytes(fields.array().ok()?) as usize;
        let mut number = || fields.array().ok().map(u64::from_le_bytes);
        let (epoch, salt, first_sequence) = (number()?, number()?, number()?);
        let mut months = Vec::new();
        for _ in 0..month_count.min(MONTH_COUNT_MAX) {
            let month = u32::from_le_bytes(fields.array().ok()?);
            months.push((month, u64::from_le_bytes(fields.array().ok()?)));
        }
        Some(Self { epoch, salt, first_sequence, months })
    }
}
