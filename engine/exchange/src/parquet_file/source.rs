//! Owns the bytes of a Parquet file: its footer, and the ranges that pages are read from.
//!
//! Refuses to know columns. Bound: [`METADATA_BYTES_MAX`] of footer and [`PAGE_BYTES_MAX`] a page,
//! both checked before memory is taken.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use super::footer::check_schema;
use crate::error::{ExchangeError, Place};

/// Largest page, compressed or not, in bytes. Writers aim at 1 MiB.
pub const PAGE_BYTES_MAX: usize = 64 << 20;

/// Largest footer, in bytes: some thousands of row groups.
const METADATA_BYTES_MAX: usize = 8 << 20;

/// The length of the footer and the magic number, which end the file.
const TAIL_BYTES: usize = 8;
const MAGIC: &[u8; 4] = b"PAR1";
const MAGIC_ENCRYPTED: &[u8; 4] = b"PARE";

/// Enough for the header of a page without statistics.
const HEADER_BUFFER_BYTES: usize = 512;

/// An open file.
#[derive(Clone)]
pub(super) struct Source {
    file: Arc<File>,
    bytes: u64,
}

impl Source {
    pub fn new(file: File) -> Result<Self, ExchangeError> {
        let bytes = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), bytes })
    }

    /// Reads the footer.
    pub fn metadata(&self) -> Result<ParquetMetaData, ExchangeError> {
        let damaged = |reason: &'static str| ExchangeError::NotParquet { reason };
        let tail_at =
            self.bytes.checked_sub(TAIL_BYTES as u64).ok_or(damaged("it is too short"))?;
        let mut tail = [0; TAIL_BYTES];
        self.file.read_exact_at(&mut tail, tail_at)?;
        let (length, magic) = tail.split_at(4);
        if magic == MAGIC_ENCRYPTED {
            return Err(damaged("it is encrypted"));
        }
        if magic != MAGIC {
            return Err(damaged("it does not end as one"));
        }
        let length = length.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        if length > METADATA_BYTES_MAX {
            return Err(damaged("its footer is too large"));
        }
        let start = tail_at.checked_sub(length as u64);
        let mut footer = vec![0; length];
        self.file.read_exact_at(&mut footer, start.ok_or(damaged("its footer is too large"))?)?;
        check_schema(&footer).ok_or(damaged("its schema is too large, too deep or damaged"))?;
        ParquetMetaDataReader::decode_metadata(&footer)
            .map_err(|source| ExchangeError::Damaged { place: Place::Header, source })
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Source {
    type T = BufReader<Cursor>;

    /// Only headers of pages are read through this.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let cursor = Cursor { file: Arc::clone(&self.file), at: start };
        let mut reader = BufReader::with_capacity(HEADER_BUFFER_BYTES, cursor);
        check_page_size(reader.fill_buf()?)?;
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64);
        if length > PAGE_BYTES_MAX || end.is_none_or(|end| end > self.bytes) {
            return Err(ParquetError::EOF("a page is too large or reaches past the end".into()));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Reads on from a place in a shared file, without moving the file's own.
pub(super) struct Cursor {
    file: Arc<File>,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Checks the size that a page says it has without compression, before the library takes that
/// much memory. `header` is a Thrift structure in the compact protocol, which begins with two
/// fields of 32 bits: the kind of the page and that size.
fn check_page_size(header: &[u8]) -> Result<()> {
    const FIELD_I32_NEXT: u8 = 0x15;
    let mut rest = header;
    let mut size = 0;
    for _ in 0..2 {
        let damaged = || ParquetError::General("the header of a page is damaged".into());
        rest = rest.strip_prefix(&[FIELD_I32_NEXT]).ok_or_else(damaged)?;
        (size, rest) = super::encoded::varint(rest).ok_or_else(damaged)?;
    }
    // Zigzag: an even number stands for its half, an odd one is negative.
    if size % 2 == 1 || size / 2 > PAGE_BYTES_MAX as u64 {
        return Err(ParquetError::General(format!("a page has more than {PAGE_BYTES_MAX} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_pages_are_read_ahead() {
        let check = |header: &[u8], expected: bool| {
            assert_eq!(check_page_size(header).is_ok(), expected, "{header:x?}");
        };
        check(&[0x15, 0x00, 0x15, 0x20, 0x15, 0x20], true);
        // 64 MiB, one more, the most of 32 bits, and a size below zero.
        check(&[0x15, 0x00, 0x15, 0x80, 0x80, 0x80, 0x40], true);
        check(&[0x15, 0x00, 0x15, 0x82, 0x80, 0x80, 0x40], false);
        check(&[0x15, 0x00, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f], false);
        check(&[0x15, 0x00, 0x15, 0x01], false);
        check(&[0x15, 0x00, 0x25, 0x20], false);
        check(&[], false);
    }
}
