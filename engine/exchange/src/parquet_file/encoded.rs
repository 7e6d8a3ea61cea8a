//! Owns walks over encoded numbers as Parquet stores them, which check that their lengths and
//! counts fit before the library decodes them; it panics on some that do not.
//!
//! Refuses to know pages and what the numbers mean. Bound: one pass over bytes that are there,
//! without memory of its own.
//!
//! Sources: Apache Parquet, "Encodings": the hybrid of run lengths and bit packing, and
//! DELTA_BINARY_PACKED.

use parquet::errors::{ParquetError, Result};

/// Most bytes of a number in groups of 7 bits.
const VARINT_BYTES_MAX: usize = 10;
/// Largest block of a delta encoding, in values. Writers use 128.
const DELTA_BLOCK_MAX: u64 = 1 << 16;
/// Parts of a block have a multiple of this many values.
const DELTA_PART_MULTIPLE: u64 = 32;

/// Walks up to `count` levels of one or two bits: runs of one level, and groups of packed ones.
pub(super) fn levels(
    encoded: &[u8],
    width: usize,
    count: u32,
    mut each: impl FnMut(u8, usize) -> Result<()>,
) -> Result<()> {
    let mask = (1 << width) - 1;
    let mut left = count as usize;
    let mut rest = encoded;
    while left > 0 && !rest.is_empty() {
        let (header, after) = varint(rest).ok_or_else(cut_off)?;
        let length = usize::try_from(header >> 1).unwrap_or(usize::MAX);
        if header & 1 == 0 {
            let (level, after) = after.split_first().ok_or_else(cut_off)?;
            let run = length.min(left);
            each(level & mask, run)?;
            left -= run;
            rest = after;
        } else {
            // A group has 8 levels; some writers cut the last one off.
            let byte_count = length.saturating_mul(width).min(after.len());
            let (packed, after) = after.split_at(byte_count);
            for byte in packed {
                let level_count = left.min(8 / width);
                for index in 0..level_count {
                    each(byte >> (index * width) & mask, 1)?;
                }
                left -= level_count;
            }
            rest = after;
        }
    }
    Ok(())
}

pub(super) fn cut_off() -> ParquetError {
    ParquetError::General("a page is cut off".to_owned())
}

/// Checks indices into a dictionary: their width in bits, then runs of one index, and groups of
/// packed ones.
pub(super) fn check_indices(encoded: &[u8], count: usize) -> Result<()> {
    const WIDTH_MAX: usize = 32;
    let Some((width, mut rest)) = encoded.split_first() else {
        return if count == 0 { Ok(()) } else { Err(cut_off()) };
    };
    let width = usize::from(*width);
    if width > WIDTH_MAX {
        return damaged("indices into a dictionary are too wide");
    }
    let mut left = count;
    while left > 0 {
        let (header, after) = varint(rest).ok_or_else(cut_off)?;
        let length = usize::try_from(header >> 1).unwrap_or(usize::MAX);
        let (value_count, byte_count) = if header & 1 == 0 {
            (length, width.div_ceil(8))
        } else {
            (length.saturating_mul(8), length.saturating_mul(width))
        };
        if value_count == 0 {
            return damaged("a run of indices is empty");
        }
        left = left.saturating_sub(value_count);
        // A group has 8 indices; some writers cut the last one off.
        rest = after.get(byte_count..).unwrap_or_default();
    }
    Ok(())
}

/// Checks differences of whole numbers: block after block, each in parts of their own width.
pub(super) fn check_delta(encoded: &[u8], count: usize) -> Result<()> {
    let (block_size, rest) = varint(encoded).ok_or_else(cut_off)?;
    let (part_count, rest) = varint(rest).ok_or_else(cut_off)?;
    let (value_count, rest) = varint(rest).ok_or_else(cut_off)?;
    let (_first, mut rest) = varint(rest).ok_or_else(cut_off)?;
    let part_size = block_size.checked_div(part_count).unwrap_or_default();
    let is_regular = (1..=DELTA_BLOCK_MAX).contains(&block_size)
        && part_size > 0
        && part_size.is_multiple_of(DELTA_PART_MULTIPLE);
    if !is_regular || value_count != count as u64 {
        return damaged("a page has another number of values than it says");
    }
    let mut left = value_count.saturating_sub(1);
    while left > 0 {
        let (_least, after) = varint(rest).ok_or_else(cut_off)?;
        let part_count = usize::try_from(part_count).unwrap_or(usize::MAX);
        let (widths, mut after) = after.split_at_checked(part_count).ok_or_else(cut_off)?;
        for width in widths {
            if left == 0 {
                break;
            }
            let byte_count = u64::from(*width) * part_size / 8;
            let byte_count = usize::try_from(byte_count).unwrap_or(usize::MAX);
            // The last part may be cut off behind its last value, which the library sees.
            after = after.get(byte_count..).unwrap_or_default();
            left = left.saturating_sub(part_size);
        }
        rest = after;
    }
    Ok(())
}

/// Reads an unsigned number in groups of 7 bits, lowest first (ULEB128), and gives what follows.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(VARINT_BYTES_MAX) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

pub(super) fn damaged<T>(what: &str) -> Result<T> {
    Err(ParquetError::General(what.to_owned()))
}
