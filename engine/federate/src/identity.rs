//! Owns who a request is from: a signature over all of it, and the memory of those that were seen.
//!
//! ```text
//! signed   method LF path and query LF SHA-256 of the body in hexadecimal LF client LF
//!          time in microseconds UTC LF nonce in hexadecimal
//! ```
//!
//! Ed25519 (RFC 8032). Refuses to know HTTP and who may do what. Bound: `NONCES_MAX` requests
//! within `WINDOW_US`; beyond that one is refused rather than an old one forgotten.

use std::collections::BTreeSet;
use std::fmt::Write;

use ring::signature::{ED25519, UnparsedPublicKey};

use crate::error::FederateError;

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// How far a client's clock may be from the server's, microseconds.
const WINDOW_US: i64 = 300_000_000;
/// How far it may be ahead. What was signed so far ahead may have been seen before a restart, so
/// that nothing is let in for as long after one.
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
    /// The method, in capitals.
    pub method: &'a str,
    /// The path with its query, as it was sent.
    pub path: &'a str,
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
}

/// The bytes that a client signs.
pub fn signed_text(request: &Request<'_>, client: u32, signed_us: i64, nonce: &[u8; 16]) -> String {
    let Request { method, path, body_sha256 } = request;
    let (body, nonce) = (hexadecimal(body_sha256), hexadecimal(nonce));
    format!("{method}\n{path}\n{body}\n{client}\n{signed_us}\n{nonce}")
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A string takes whatever is written.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The requests that were seen.
#[derive(Debug)]
pub struct Gate {
    /// What was signed before this may have been seen before a restart.
    since_us: i64,
    seen: BTreeSet<(i64, u32, [u8; 16])>,
}

impl Gate {
    /// Opens the gate. What may have been signed before now is refused: it may have been let in
    /// before.
    pub fn new(now_us: i64) -> Self {
        Self { since_us: now_us.saturating_add(AHEAD_US), seen: BTreeSet::new() }
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
        let oldest = now_us.saturating_sub(WINDOW_US).max(self.since_us);
        if signed_us < oldest || signed_us > now_us.saturating_add(AHEAD_US) {
            return denied("it was signed too long ago, over 300 s, or the clocks differ by 10 s");
        }
        let text = signed_text(request, client, signed_us, &nonce);
        let key = UnparsedPublicKey::new(&ED25519, public_key);
        if key.verify(text.as_bytes(), signature).is_err() {
            return denied("its signature is not the client's");
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
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use truststram_base::Kind;

    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;
    const REQUEST: Request<'static> =
        Request { method: "POST", path: "/api/v1/fl/tasks/7/updates", body_sha256: [3; 32] };

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap()
    }

    fn sign(request: &Request<'_>, client: u32, signed_us: i64, nonce: [u8; 16]) -> Vec<u8> {
        let text = signed_text(request, client, signed_us, &nonce);
        pair().sign(text.as_bytes()).as_ref().to_vec()
    }

    #[test]
    fn a_request_is_let_in_once_and_only_as_it_was_signed() {
        let key = pair().public_key().as_ref().to_vec();
        assert_eq!(key.len(), PUBLIC_KEY_BYTES);
        let mut gate = Gate::new(NOW - WINDOW_US);
        let signature = sign(&REQUEST, 5, NOW, [1; 16]);
        let proof = Proof { client: 5, signed_us: NOW, nonce: [1; 16], signature: &signature };
        let others = [
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
        let key = pair().public_key().as_ref().to_vec();
        let mut gate = Gate::new(NOW - AHEAD_US);
        let mut admit = |now_us: i64, signed_us: i64, nonce: u8| {
            let signature = sign(&REQUEST, 5, signed_us, [nonce; 16]);
            let proof = Proof { client: 5, signed_us, nonce: [nonce; 16], signature: &signature };
            gate.admit(now_us, &key, &REQUEST, &proof).map_err(|error| error.to_string())
        };
        assert!(admit(NOW, NOW - 1, 1).unwrap_err().contains("too long ago"), "before the start");
        admit(NOW, NOW, 1).unwrap();
        admit(NOW + WINDOW_US, NOW, 2).unwrap();
        let late = NOW + WINDOW_US + 1;
        assert!(admit(late, NOW, 1).unwrap_err().contains("too long ago"));
        assert!(admit(late, late + AHEAD_US + 1, 3).unwrap_err().contains("clocks"));
        admit(late, late + AHEAD_US, 3).unwrap();
        assert_eq!(gate.seen.len(), 1);
    }

    #[test]
    fn nothing_is_let_in_again_after_a_restart() {
        let key = pair().public_key().as_ref().to_vec();
        let signed_us = NOW + AHEAD_US;
        let signature = sign(&REQUEST, 5, signed_us, [1; 16]);
        let proof = Proof { client: 5, signed_us, nonce: [1; 16], signature: &signature };
        Gate::new(0).admit(NOW, &key, &REQUEST, &proof).unwrap();
        // It starts again at once, and is asked at every later second.
        let mut gate = Gate::new(NOW + 1);
        for second in 0..400 {
            let now_us = NOW + 1 + second * 1_000_000;
            gate.admit(now_us, &key, &REQUEST, &proof).unwrap_err();
        }
    }
}
