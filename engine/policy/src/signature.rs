//! Owns signatures of components: Ed25519 (RFC 8032) over the bytes, by keys that the operator
//! trusts.
//!
//! Refuses to keep private keys. Bound: one pass over the component for each key.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::load::hex;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(unhex(text)?.try_into().ok()?))
    }

    /// Whether this key signed `component`; `signature` is 128 hexadecimal digits.
    pub fn has_signed(&self, component: &[u8], signature: &str) -> bool {
        let Some(signature) = unhex(signature) else { return false };
        UnparsedPublicKey::new(&ED25519, self.0).verify(component, &signature).is_ok()
    }
}

/// A new private key as PKCS#8 and its public key in hexadecimal; none where the system has no
/// random numbers to give.
pub fn make_key() -> Option<(Vec<u8>, String)> {
    let private = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).ok()?;
    let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).ok()?;
    Some((private.as_ref().to_vec(), hex(pair.public_key().as_ref())))
}

/// The signature of `component` in hexadecimal; none if `private` is no Ed25519 key as PKCS#8.
pub fn sign(private: &[u8], component: &[u8]) -> Option<String> {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(private).ok()?;
    Some(hex(pair.sign(component).as_ref()))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_the_rfc() {
        // RFC 8032, section 7.1, test 2.
        let key = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        let key = PublicKey::parse(key).unwrap();
        assert!(key.has_signed(&[0x72], signature));
        assert!(!key.has_signed(&[0x73], signature));
        assert!(!key.has_signed(&[0x72], &signature[2..]));
        assert!(!key.has_signed(&[0x72], "ä"));
        assert_eq!(PublicKey::parse("3d40"), None);
    }

    #[test]
    fn what_is_signed_is_verified() {
        let (private, public) = make_key().unwrap();
        let signature = sign(&private, b"component").unwrap();
        assert!(PublicKey::parse(&public).unwrap().has_signed(b"component", &signature));
        let (_, other) = make_key().unwrap();
        assert!(!PublicKey::parse(&other).unwrap().has_signed(b"component", &signature));
        assert_eq!(sign(b"no key", b"component"), None);
    }
}
