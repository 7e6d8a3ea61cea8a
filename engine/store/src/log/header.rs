//! Owns the header of a log file, which says which of its entries count.
//!
//! ```text
//! magic           8 bytes   "TSTRMLOG"
//! layout          u32       1
//! reserved        u32       0
//! epoch           u64       turns of both files, counted from 1
//! salt            u64       seeds the checksums of this turn's entries
//! first_sequence  u64       sequence of the turn's first row
//! checksum        u64       XXH3-64 of the bytes before
//! ```
//!
//! A file has two places for it, used in turns, so that writing one never harms the other.
//! Refuses to know entries. Bound: [`HEADER_BYTES`].

use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 48;
/// Where the two headers are.
pub(crate) const HEADER_PLACES: [u64; 2] = [0, 4_096];
/// Where entries begin.
pub(crate) const ENTRIES_START: u64 = 8_192;

const MAGIC: &[u8; 8] = b"TSTRMLOG";
const LAYOUT: u32 = 1;
const CHECKED_BYTES: usize = HEADER_BYTES - size_of::<u64>();

/// One turn of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) epoch: u64,
    pub(crate) salt: u64,
    pub(crate) first_sequence: u64,
}

impl Header {
    /// Where it is kept: a file has every second turn.
    pub(crate) fn place(&self) -> u64 {
        HEADER_PLACES[usize::from(self.epoch / 2 % 2 == 1)]
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&LAYOUT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first_sequence.to_le_bytes());
        let checksum = xxh3_64(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are no header that was written whole.
    pub(crate) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let is_whole = &bytes[..8] == MAGIC
            && number(8) == u64::from(LAYOUT)
            && number(CHECKED_BYTES) == xxh3_64(&bytes[..CHECKED_BYTES]);
        is_whole.then(|| Self { epoch: number(16), salt: number(24), first_sequence: number(32) })
    }
}
