//! Owns who a request is from: a signature over all of it, and the memory of those that were seen.
//!
//! ```text
//! signed   epoch LF method LF path and query LF SHA-256 of the body in hexadecimal LF client LF
//!          time in microseconds UTC LF nonce in hexadecimal
//! ```
//!
//! Ed25519 (RFC 8032). The epoch is the server's, another one after each of its starts, so that
//! nothing of before a start is let in again. Refuses to know HTTP and who may do what. Bound:
//! `NONCES_MAX` requests within `WINDOW_US`; beyond that one is refused rather than an old one
//! forgotten.

use std::collections::BTreeSet;
use std::fmt::Write;

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use truststram_base::Kind;

use crate::error::FederateError;

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// How far a client's clock may be from the server's, microseconds.
const WINDOW_US: i64 = 300_000_000;
/// How far it may be ahead.
const AHEAD_US: i64 = 10_000_000;
const NONCES_MAX: usize = 1_000_000;

/// What a request says of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof<'a> {
    /// The client.
    pub client: u32,
    /// When it was signed, microseconds UTC.
    pub signed_us: i64,
    /// A number of its own.
    pub nonce: [u8; 16],
    /// The signature.
    pub signature: &'a [u8],
}

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The server's epoch.
    pub epoch: &'a str,
    /// The method, in capitals.
    pub method: &'a str,
    /// The path with its query, as it was sent.
    pub path: &'a str,
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
}

/// The bytes that a client signs.
pub fn signed_text(request: &Request<'_>, client: u32, signed_us: i64, nonce: &[u8; 16]) -> String {
    let Request { epoch, method, path, body_sha256 } = request;
    let (body, nonce) = (hexadecimal(body_sha256), hexadecimal(nonce));
    format!("{epoch}\n{method}\n{path}\n{body}\n{client}\n{signed_us}\n{nonce}")
}

/// Lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A string takes whatever is written.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Bytes of hexadecimal text.
pub fn of_hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(bytes)
}

/// Bytes that nobody can guess.
///
/// # Errors
/// [`FederateError::Port`] where the system has none.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], FederateError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| FederateError::Port {
        message: "the system gives no random bytes".to_owned(),
        kind: Kind::Internal,
    })?;
    Ok(bytes)
}

/// A client's key.
#[derive(Debug)]
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// Bytes of what a key is made from.
    pub const SEED_BYTES: usize = 32;

    /// The key of these secret bytes.
    ///
    /// # Errors
    /// [`FederateError::Denied`] if no key can be made of them.
    pub fn of_seed(seed: &[u8; Self::SEED_BYTES]) -> Result<Self, FederateError> {
        let made = Ed25519KeyPair::from_seed_unchecked(seed);
        made.map(Self).map_err(|_| FederateError::Denied { reason: "the key cannot be used" })
    }

    /// What the server knows it by.
    pub fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// The signature of a request.
    pub fn sign(
        &self,
        request: &Request<'_>,
        client: u32,
        signed_us: i64,
        nonce: &[u8; 16],
    ) -> Vec<u8> {
        let text = signed_text(request, client, signed_us, nonce);
        self.0.sign(text.as_bytes()).as_ref().to_vec()
    }
}

/// The requests that were seen.
#[derive(Debug, Default)]
pub struct Gate {
    seen: BTreeSet<(i64, u32, [u8; 16])>,
}

impl Gate {
    /// Opens the gate of an epoch that nobody has signed for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets a request in once, if it is signed with the key.
    ///
    /// # Errors
    /// [`FederateError::Denied`] says why not.
    pub fn admit(
        &mut self,
        now_us: i64,
        public_key: &[u8],
        request: &Request<'_>,
        proof: &Proof<'_>,
    ) -> Result<(), FederateError> {
        let denied = |reason| Err(FederateError::Denied { reason });
        let Proof { client, signed_us, nonce, signature } = *proof;
        let oldest = now_us.saturating_sub(WINDOW_US);
        if signed_us < oldest || signed_us > now_us.saturating_add(AHEAD_US) {
            return denied("it was signed too long ago, over 300 s, or the clocks differ by 10 s");
        }
        let text = signed_text(request, client, signed_us, &nonce);
        let key = UnparsedPublicKey::new(&ED25519, public_key);
        if key.verify(text.as_bytes(), signature).is_err() {
            return denied("its signature is not the client's, or of another epoch");
        }
        // Only what is rightly signed takes room here.
        self.seen = self.seen.split_off(&(oldest, 0, [0; 16]));
        if self.seen.contains(&(signed_us, client, nonce)) {
            return denied("it was sent before");
        }
        if self.seen.len() >= NONCES_MAX {
            return denied("too many requests are remembered; wait a minute");
        }
        self.seen.insert((signed_us, client, nonce));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;
    const REQUEST: Request<'static> = Request {
        epoch: "e1",
        method: "POST",
        path: "/api/v1/fl/tasks/7/updates",
        body_sha256: [3; 32],
    };

    fn signer() -> Signer {
        Signer::of_seed(&[9; 32]).unwrap()
    }

    #[test]
    fn a_request_is_let_in_once_and_only_as_it_was_signed() {
        let key = signer().public_key().to_vec();
        assert_eq!(key.len(), PUBLIC_KEY_BYTES);
        let mut gate = Gate::new();
        let signature = signer().sign(&REQUEST, 5, NOW, &[1; 16]);
        let proof = Proof { client: 5, signed_us: NOW, nonce: [1; 16], signature: &signature };
        let others = [
            (Request { epoch: "e2", ..REQUEST }, proof),
            (Request { method: "PUT", ..REQUEST }, proof),
            (Request { path: "/api/v1/fl/tasks/8/updates", ..REQUEST }, proof),
            (Request { body_sha256: [4; 32], ..REQUEST }, proof),
            (REQUEST, Proof { client: 6, ..proof }),
            (REQUEST, Proof { nonce: [2; 16], ..proof }),
            (REQUEST, Proof { signed_us: NOW + 1, ..proof }),
            (REQUEST, Proof { signature: &signature[..63], ..proof }),
        ];
        for (request, proof) in others {
            let error = gate.admit(NOW, &key, &request, &proof).unwrap_err();
            assert_eq!(error.kind(), Kind::Denied);
            assert!(error.to_string().contains("not the client's"), "{error}");
        }
        gate.admit(NOW, &key, &REQUEST, &proof).unwrap();
        let again = gate.admit(NOW + 1, &key, &REQUEST, &proof).unwrap_err().to_string();
        assert!(again.contains("sent before"), "{again}");
        gate.admit(NOW, &[0; 32], &REQUEST, &proof).unwrap_err();
        gate.admit(NOW, &[], &REQUEST, &proof).unwrap_err();
    }

    #[test]
    fn what_is_forgotten_is_too_old_to_be_let_in() {
        let key = signer().public_key().to_vec();
        let mut gate = Gate::new();
        let mut admit = |now_us: i64, signed_us: i64, nonce: u8| {
            let signature = signer().sign(&REQUEST, 5, signed_us, &[nonce; 16]);
            let proof = Proof { client: 5, signed_us, nonce: [nonce; 16], signature: &signature };
            gate.admit(now_us, &key, &REQUEST, &proof).map_err(|error| error.to_string())
        };
        admit(NOW, NOW, 1).unwrap();
        admit(NOW + WINDOW_US, NOW, 2).unwrap();
        let late = NOW + WINDOW_US + 1;
        assert!(admit(late, NOW, 1).unwrap_err().contains("too long ago"));
        assert!(admit(late, late + AHEAD_US + 1, 3).unwrap_err().contains("clocks"));
        admit(late, late + AHEAD_US, 3).unwrap();
        assert_eq!(gate.seen.len(), 1);
    }

    #[test]
    fn hexadecimal_there_and_back() {
        let bytes = random_bytes::<32>().unwrap();
        assert_eq!(of_hexadecimal(&hexadecimal(&bytes)), Some(bytes));
        assert_ne!(random_bytes::<32>().unwrap(), bytes);
        for wrong in ["", "0", "zz", "+1"] {
            assert_eq!(of_hexadecimal::<1>(wrong), None, "{wrong}");
        }
    }
}
