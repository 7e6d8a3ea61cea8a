//! Owns what the tests of this crate share: seeded rows, and files of them.
//!
//! Refuses to know the inside of the crate; the tests see what its users see. Bound: test code.

mod golden;
mod hostile;
mod round_trip;
mod wrong;

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use crate::{ExchangeError, Format, ReadOptions, Reader, Row, Writer};

/// Seeded numbers: SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())].clone()
    }
}

/// A file with these bytes, at its start.
fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

fn written<R: Row>(format: Format, rows: &[R]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::create(format, &mut bytes).unwrap();
    for row in rows {
        writer.write(row).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), rows.len() as u64);
    bytes
}

fn read<R: Row>(format: Format, bytes: &[u8]) -> Result<Vec<R>, ExchangeError> {
    Reader::open(format, file(bytes), ReadOptions::default())?.collect()
}

/// The one problem of a file, as its user reads it.
fn problem<R: Row>(format: Format, bytes: &[u8]) -> String {
    match read::<R>(format, bytes) {
        Ok(rows) => panic!("{} rows of {format} were read", rows.len()),
        Err(error) => error.to_string(),
    }
}
