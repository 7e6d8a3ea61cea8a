//! Owns the frame around every stored value, which makes corruption visible: redb does not check
//! its own checksums when it reads.
//!
//! ```text
//! layout    u8    1
//! checksum  u64   little endian: XXH3-64 of the body, seeded with the context
//! body
//! ```
//!
//! The context is derived from the value's key, so that a sound value under a wrong key is damage
//! too. Refuses to know what the body means. Bound: nine bytes per value.

use truststram_base::ModelId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::Damage;

const LAYOUT: u8 = 1;

/// Where the body starts.
pub(crate) const HEADER_BYTES: usize = 1 + size_of::<u64>();

/// The context of a key that starts with texts and ends with a number.
pub(crate) fn context(texts: &[&str], number: u64) -> u64 {
    texts.iter().fold(number, |seed, text| xxh3_64_with_seed(text.as_bytes(), seed))
}

/// The context of a model's rows and entries.
pub(crate) fn model_context(id: &ModelId, number: u64) -> u64 {
    context(&[id.as_str()], number)
}

/// Fills in the header of `frame`, whose first [`HEADER_BYTES`] are reserved for it.
pub(crate) fn seal(context: u64, frame: &mut [u8]) {
    if let Some((header, body)) = frame.split_first_chunk_mut::<HEADER_BYTES>() {
        header[0] = LAYOUT;
        header[1..].copy_from_slice(&xxh3_64_with_seed(body, context).to_le_bytes());
    }
}

/// `body` with its header in front.
pub(crate) fn frame<const N: usize>(context: u64, body: &[u8]) -> [u8; N] {
    let mut frame = [0; N];
    frame[HEADER_BYTES..].copy_from_slice(body);
    seal(context, &mut frame);
    frame
}

/// The body of `frame`, if it is what [`seal`] saw under the same context.
pub(crate) fn open(context: u64, frame: &[u8]) -> Result<&[u8], Damage> {
    let (header, body) = frame.split_first_chunk::<HEADER_BYTES>().ok_or(Damage::Length)?;
    let [layout, checksum @ ..] = header;
    if *layout != LAYOUT {
        return Err(Damage::Layout);
    }
    if u64::from_le_bytes(*checksum) != xxh3_64_with_seed(body, context) {
        return Err(Damage::Checksum);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_wrong_key_is_damage() {
        let context = context(&["user", "model"], 7);
        let sealed: [u8; HEADER_BYTES + 5] = frame(context, b"hello");
        assert_eq!(open(context, &sealed), Ok(&b"hello"[..]));
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(context, &flipped).is_err(), "bit {bit}");
        }
        for other in [super::context(&["user", "model"], 8), super::context(&["user", "x"], 7), 0] {
            assert_eq!(open(other, &sealed), Err(Damage::Checksum));
        }
        assert_eq!(open(context, &sealed[..4]), Err(Damage::Length));
    }
}
