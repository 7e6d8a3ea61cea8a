//! Owns the text of an API key.
//!
//! ```text
//! ts_ id (16 hexadecimal digits) _ secret (64) check (8)
//! ```
//!
//! The check is the start of the SHA-256 of all before it, so that a typing error is told from a
//! wrong key, and programs that look for secrets in files know a key when they see one. The secret
//! is 256 bits of chance, so that one hash keeps it as well as many would. Refuses to keep it.
//! Bound: 92 bytes.

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

const PREFIX: &str = "ts_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
const CHECK_CHARS: usize = 8;

/// A key that was just made.
pub struct FreshKey {
    /// By what it is found.
    pub id: String,
    /// What its holder presents.
    pub text: String,
    /// What is kept of the secret.
    pub secret_sha256: [u8; 32],
}

/// What a text that is well-formed says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) id: &'a str,
    secret: &'a str,
}

/// Makes a key, or another secret for the key `id`; `None` where the system has no chance to give.
pub fn fresh(id: Option<&str>) -> Option<FreshKey> {
    let random = SystemRandom::new();
    let (mut name, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
    random.fill(&mut name).ok()?;
    random.fill(&mut secret).ok()?;
    let id = id.map_or_else(|| hexadecimal(&name), str::to_owned);
    let secret = hexadecimal(&secret);
    let body = format!("{PREFIX}{id}_{secret}");
    let text = format!("{body}{}", check_of(&body));
    Some(FreshKey { id, text, secret_sha256: Sha256::digest(&secret).into() })
}

/// Whether `text` means to be an API key.
pub(crate) fn is_meant(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The parts of a key without typing errors.
pub(crate) fn parts(text: &str) -> Option<Parts<'_>> {
    let (body, check) = text.split_at_checked(text.len().checked_sub(CHECK_CHARS)?)?;
    let (id, secret) = body.strip_prefix(PREFIX)?.split_once('_')?;
    let is_hex = |text: &str, bytes: usize| {
        text.len() == 2 * bytes && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_formed = is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES);
    (is_formed && check_of(body) == check).then_some(Parts { id, secret })
}

impl Parts<'_> {
    /// What would be kept of the secret.
    pub(crate) fn secret_sha256(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }
}

fn check_of(body: &str) -> String {
    hexadecimal(&Sha256::digest(body)[..CHECK_CHARS / 2])
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_made_and_typing_errors_are_seen() {
        let key = fresh(None).unwrap();
        let read = parts(&key.text).unwrap();
        assert_eq!((read.id, read.secret_sha256()), (key.id.as_str(), key.secret_sha256));
        assert_eq!(key.text.len(), 92);
        for at in 0..key.text.len() {
            let mut wrong = key.text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(parts(std::str::from_utf8(&wrong).unwrap()), None, "at {at}");
        }
        for wrong in ["", "ts_", "ts__", &key.text[..91], &format!("{}0", key.text), "äöü"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
        assert_eq!(parts(&key.text.to_uppercase()), None);
    }

    #[test]
    fn the_same_id_gets_another_secret() {
        let key = fresh(None).unwrap();
        let other = fresh(Some(&key.id)).unwrap();
        assert_eq!(other.id, key.id);
        assert_ne!(other.secret_sha256, key.secret_sha256);
        assert_ne!(fresh(None).unwrap().id, key.id);
    }

    #[test]
    fn the_check_is_what_other_programs_compute() {
        let (id, secret) = ("0123456789abcdef", "00".repeat(32));
        // printf ts_0123456789abcdef_000…0 | sha256sum
        let check = check_of(&format!("ts_{id}_{secret}"));
        assert_eq!(check.len(), 8);
        assert!(parts(&format!("ts_{id}_{secret}{check}")).is_some());
    }
}
