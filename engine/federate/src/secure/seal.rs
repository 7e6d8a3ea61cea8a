//! Owns the keys of a round: agreements by X25519 (RFC 7748), what is derived from them by HKDF
//! (RFC 5869), and boxes of ChaCha20-Poly1305 for shares.
//!
//! `ring` agrees with keys of one use only, of which no share can be made; hence x25519-dalek.
//! Refuses to use a key for two purposes: each derivation names its purpose, round, sender and
//! receiver. Bound: some hundred bytes.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use truststram_base::Kind;
use x25519_dalek::{PublicKey, StaticSecret};

use super::SECRET_BYTES;
use crate::error::{FederateError, field_error};
use crate::identity::{hexadecimal, of_hexadecimal};

const SALT: &[u8] = b"truststram secure aggregation 1";
/// Bytes of a sealed pair of shares.
pub(super) const SEALED_BYTES: usize = 2 * SECRET_BYTES + 16;

/// What a client shows of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKeys {
    /// For the masks of pairs.
    pub mask: [u8; SECRET_BYTES],
    /// For the shares that are sent to it.
    pub share: [u8; SECRET_BYTES],
    /// SHA-256 of its seed.
    pub seed_sha256: [u8; SECRET_BYTES],
}

impl PublicKeys {
    /// As text, 192 hexadecimal digits.
    pub fn to_text(self) -> String {
        hexadecimal(&[self.mask, self.share, self.seed_sha256].concat())
    }

    /// Of such a text.
    ///
    /// # Errors
    /// [`FederateError::Field`] for another one.
    pub fn of_text(text: &str) -> Result<Self, FederateError> {
        let wrong = || field_error("keys", format!("{} digits", text.len()), "192 of base 16");
        let bytes: [u8; 3 * SECRET_BYTES] = of_hexadecimal(text).ok_or_else(wrong)?;
        let part = |index: usize| std::array::from_fn(|byte| bytes[index * SECRET_BYTES + byte]);
        Ok(Self { mask: part(0), share: part(1), seed_sha256: part(2) })
    }
}

/// The public part of a key.
pub(super) fn public(secret: &[u8; SECRET_BYTES]) -> [u8; SECRET_BYTES] {
    PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
}

fn refused(what: &str) -> FederateError {
    FederateError::Port { message: format!("the cipher refuses {what}"), kind: Kind::Internal }
}

/// What two keys have in common, for one purpose of one round.
fn derived(
    own: &[u8; SECRET_BYTES],
    other: &[u8; SECRET_BYTES],
    purpose: &[u8],
    round: u64,
    (first, second): (u32, u32),
) -> Result<[u8; SECRET_BYTES], FederateError> {
    let shared = StaticSecret::from(*own).diffie_hellman(&PublicKey::from(*other));
    if !shared.was_contributory() {
        return Err(field_error("key", hexadecimal(other), "one that takes part in the agreement"));
    }
    let (first, second) = (first.to_le_bytes(), second.to_le_bytes());
    let info = [purpose, &round.to_le_bytes(), &first, &second];
    let extracted = Salt::new(HKDF_SHA256, SALT).extract(shared.as_bytes());
    let mut key = [0; SECRET_BYTES];
    let filled = extracted.expand(&info, HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
    filled.map_err(|_| refused("a derivation"))?;
    Ok(key)
}

/// The seed of the mask of a pair; the same for both.
pub(super) fn pair_seed(
    own: &[u8; SECRET_BYTES],
    other: &[u8; SECRET_BYTES],
    round: u64,
    (a, b): (u32, u32),
) -> Result<[u8; SECRET_BYTES], FederateError> {
    derived(own, other, b"mask", round, (a.min(b), a.max(b)))
}

/// A key that seals one message of one sender to one receiver.
pub(super) fn box_key(
    own: &[u8; SECRET_BYTES],
    other: &[u8; SECRET_BYTES],
    round: u64,
    from_to: (u32, u32),
) -> Result<[u8; SECRET_BYTES], FederateError> {
    derived(own, other, b"shares", round, from_to)
}

fn cipher(key: &[u8; SECRET_BYTES]) -> Result<LessSafeKey, FederateError> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| refused("its key"))?;
    Ok(LessSafeKey::new(key))
}

/// Each key seals once.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Seals the shares of a mask key and of a seed.
pub(super) fn seal(
    key: &[u8; SECRET_BYTES],
    shares: [[u8; SECRET_BYTES]; 2],
) -> Result<Vec<u8>, FederateError> {
    let mut text = shares.concat();
    let sealed = cipher(key)?.seal_in_place_append_tag(only_nonce(), Aad::empty(), &mut text);
    sealed.map_err(|_| refused("a message"))?;
    Ok(text)
}

/// Opens what [`seal`] made; none if it is of another key or was changed.
pub(super) fn open(
    key: &[u8; SECRET_BYTES],
    sealed: &[u8],
) -> Result<Option<[[u8; SECRET_BYTES]; 2]>, FederateError> {
    let mut text = sealed.to_vec();
    let opened = cipher(key)?.open_in_place(only_nonce(), Aad::empty(), &mut text);
    let Ok(shares) = opened else { return Ok(None) };
    let (shares, rest) = shares.as_chunks::<SECRET_BYTES>();
    Ok(match shares {
        [mask, seed] if rest.is_empty() => Some([*mask, *seed]),
        _ => None,
    })
}
