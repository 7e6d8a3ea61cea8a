//! Owns the ids that cross crate borders and the rules that make them valid.
//!
//! Refuses to know where an id is stored or shown. Bound: lengths in [`crate::limits`]; an id is
//! a shared string, so that a clone costs one counter.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{MODEL_ID_BYTES_MAX, USER_ID_BYTES_MAX};

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    /// The text is empty.
    Empty,
    /// The text has more bytes than the limit, which is given.
    TooLong(usize),
    /// The character at this byte offset is not allowed.
    Character(usize),
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "is empty"),
            Self::TooLong(max) => write!(f, "is longer than {max} bytes"),
            Self::Character(at) => write!(f, "has a character that is not allowed at byte {at}"),
        }
    }
}

impl std::error::Error for IdError {}

/// The name of a model: lower-case letters, digits, `.`, `_` and `-`, starting with a letter or a
/// digit. It is also a folder name, so it can hold no separator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelId(Arc<str>);

impl ModelId {
    /// Checks `text` against the rules above.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > MODEL_ID_BYTES_MAX {
            return Err(IdError::TooLong(MODEL_ID_BYTES_MAX));
        }
        let bad = text.bytes().enumerate().find(|&(at, byte)| {
            let word = byte.is_ascii_lowercase() || byte.is_ascii_digit();
            !(word || (at > 0 && matches!(byte, b'.' | b'_' | b'-')))
        });
        match bad {
            Some((at, _)) => Err(IdError::Character(at)),
            None => Ok(Self(text.into())),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of whoever asked for a prediction, as the caller gives it: any printable text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(Arc<str>);

impl UserId {
    /// Checks that `text` is not empty, not too long and free of control characters.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > USER_ID_BYTES_MAX {
            return Err(IdError::TooLong(USER_ID_BYTES_MAX));
        }
        match text.char_indices().find(|(_, c)| c.is_control()) {
            Some((at, _)) => Err(IdError::Character(at)),
            None => Ok(Self(text.into())),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_id {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(ModelId);
text_id!(UserId);

/// The version of a model, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelVersion(pub u32);

impl fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The name of one request, shown as 32 hexadecimal digits in `x-request-id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u128);

impl RequestId {
    /// The id as 32 lower-case hexadecimal digits, without an allocation.
    pub fn to_hex(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0u8; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }

    /// Reads what [`RequestId::to_hex`] wrote; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_ids() {
        let check = |text: &str, expected: Result<(), IdError>| {
            assert_eq!(ModelId::new(text).map(|_| ()), expected, "{text:?}");
        };
        check("digits", Ok(()));
        check("a.b_c-1", Ok(()));
        check("", Err(IdError::Empty));
        check("Digits", Err(IdError::Character(0)));
        check("..", Err(IdError::Character(0)));
        check("a/b", Err(IdError::Character(1)));
        check(&"a".repeat(65), Err(IdError::TooLong(64)));
    }

    #[test]
    fn user_ids() {
        let check = |text: &str, expected: Result<(), IdError>| {
            assert_eq!(UserId::new(text).map(|_| ()), expected, "{text:?}");
        };
        check("Ana María", Ok(()));
        check("", Err(IdError::Empty));
        check("a\nb", Err(IdError::Character(1)));
        check(&"a".repeat(129), Err(IdError::TooLong(128)));
    }

    #[test]
    fn request_ids_survive_hex() {
        for id in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef] {
            let text = RequestId(id).to_hex();
            let text = std::str::from_utf8(&text).unwrap();
            assert_eq!(text, RequestId(id).to_string());
            assert_eq!(RequestId::from_hex(text), Some(RequestId(id)));
        }
        assert_eq!(RequestId::from_hex("+1"), None);
    }
}
