//! Owns the stream of bytes that a key stands for: ChaCha20 (RFC 8439) from counter 1, in chunks of
//! [`CHUNK_BYTES`], each under the nonce of its number.
//!
//! It is read off the cipher of `ring` by enciphering zeros. Refuses to end early. Bound: one
//! chunk.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use truststram_base::Kind;

use crate::error::FederateError;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of one chunk.
pub(crate) const CHUNK_BYTES: usize = 65_536;

/// The stream of one key.
pub(crate) struct Keystream {
    key: LessSafeKey,
    next: u64,
    chunk: Vec<u8>,
    used: usize,
}

fn refused() -> FederateError {
    FederateError::Port { message: "the cipher refuses its key".to_owned(), kind: Kind::Internal }
}

impl Keystream {
    /// The stream of a key.
    ///
    /// # Errors
    /// [`FederateError::Port`] if the cipher refuses it.
    pub fn new(key: &[u8; KEY_BYTES]) -> Result<Self, FederateError> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| refused())?;
        let key = LessSafeKey::new(key);
        Ok(Self { key, next: 0, chunk: vec![0; CHUNK_BYTES], used: CHUNK_BYTES })
    }

    /// The next bytes; a number of which the chunk has no whole one left begins the next chunk.
    ///
    /// # Errors
    /// As [`Keystream::new`].
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], FederateError> {
        if self.used + N > CHUNK_BYTES {
            self.chunk.fill(0);
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&self.next.to_le_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut self.chunk);
            // What would prove the bytes is of no use: they are nobody's message.
            let _ = sealed.map_err(|_| refused())?;
            self.next += 1;
            self.used = 0;
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.chunk[self.used..self.used + N]);
        self.used += N;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_chacha20() {
        let key: [u8; 32] = std::array::from_fn(|at| at as u8);
        let mut stream = Keystream::new(&key).unwrap();
        let first: [u8; 8] = stream.take().unwrap();
        let mut all = first.to_vec();
        for _ in 0..2 * CHUNK_BYTES / 8 {
            all.extend(stream.take::<8>().unwrap());
        }
        // Chunks differ, and the same key gives the same.
        assert_ne!(all[..64], all[CHUNK_BYTES..CHUNK_BYTES + 64]);
        let mut again = Keystream::new(&key).unwrap();
        assert_eq!(again.take::<16>().unwrap(), all[..16]);
        assert_eq!(first, FIRST);
    }

    /// The block at counter 1 of this key and a nonce of zeros, by the reference code of RFC 8439.
    const FIRST: [u8; 8] = [24, 184, 66, 49, 173, 230, 166, 209];
}
