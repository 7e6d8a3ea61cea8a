//! Owns the way from a text to the tokens that an encoder reads, by the folder's `tokenizer.json`.
//!
//! Refuses pairs of texts, padding, and truncation on the left. Bound: texts of
//! [`TEXT_BYTES_MAX`] bytes; more tokens than asked for are cut off, the special ones stay. A
//! defect of the library is an error of the file or the text, not a panic.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::{PostProcessor, TruncationDirection};

use super::fields::wrong;
use crate::error::ModelError;

/// Its file.
pub const TOKENIZER: &str = "tokenizer.json";
/// Longest text, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// The tokens of one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenizedText {
    /// The tokens, special ones included.
    pub ids: Vec<u32>,
    /// The type of each.
    pub types: Vec<u32>,
}

/// See the module.
pub struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    special: usize,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokenizer {} special tokens", self.special)
    }
}

/// Runs what the library may panic in.
fn guarded<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("a defect of the tokenizers library".to_owned()),
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, as an artifact keeps it.
    ///
    /// # Errors
    /// [`ModelError::Folder`] says what of it cannot be read.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModelError> {
        let read = || {
            let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes)?;
            let truncation = tokenizer.get_truncation();
            let is_left = truncation.is_some_and(|t| t.direction == TruncationDirection::Left);
            tokenizer.with_truncation(None)?.with_padding(None);
            Ok((tokenizer, is_left))
        };
        let expected = "a tokenizer of the tokenizers library";
        let (tokenizer, is_left) =
            guarded(read).map_err(|error| wrong(TOKENIZER, "", error, expected))?;
        if is_left {
            return Err(wrong(TOKENIZER, "truncation.direction", "Left", "Right"));
        }
        let special = tokenizer.get_post_processor().map_or(0, |post| post.added_tokens(false));
        Ok(Self { tokenizer, special })
    }

    /// The tokens of a text, at most `length_max` of them.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a text that is too long or cannot be read, and where
    /// `length_max` leaves no room beside the special tokens.
    pub fn encode(&self, text: &str, length_max: usize) -> Result<TokenizedText, ModelError> {
        let input = |found: String, expected: String| {
            Err(ModelError::Input { input: "text".to_owned(), found, expected })
        };
        if text.len() > TEXT_BYTES_MAX {
            let found = format!("{} bytes long", text.len());
            return input(found, format!("at most {TEXT_BYTES_MAX}"));
        }
        if length_max <= self.special {
            let expected = format!("more than the {} special ones", self.special);
            return input(format!("cut to {length_max} tokens"), expected);
        }
        let encode = || {
            let mut encoding = self.tokenizer.encode_fast(text, false)?;
            encoding.truncate(length_max - self.special, 0, TruncationDirection::Right);
            // What was cut off would be processed as well.
            encoding.take_overflowing();
            match self.tokenizer.get_post_processor() {
                None => Ok(encoding),
                Some(post) => post.process(encoding, None, true),
            }
        };
        match guarded(encode) {
            Ok(encoding) if encoding.is_empty() => {
                input("without a token".to_owned(), "at least one".to_owned())
            }
            Ok(encoding) => Ok(TokenizedText {
                ids: encoding.get_ids().to_vec(),
                types: encoding.get_type_ids().to_vec(),
            }),
            Err(error) => input(format!("not readable: {error}"), "a text".to_owned()),
        }
    }

    /// How many tokens it adds to a text.
    pub fn special_count(&self) -> usize {
        self.special
    }

    /// The largest token it may give.
    pub fn largest_token(&self) -> Option<u32> {
        self.tokenizer.get_vocab(true).into_values().max()
    }

    /// Whether texts become lower case.
    pub(super) fn lowers_case(&self) -> bool {
        fn lowers(normalizer: &NormalizerWrapper) -> bool {
            match normalizer {
                NormalizerWrapper::BertNormalizer(bert) => bert.lowercase,
                NormalizerWrapper::Lowercase(_) => true,
                NormalizerWrapper::Sequence(all) => all.as_ref().iter().any(lowers),
                _ => false,
            }
        }
        self.tokenizer.get_normalizer().is_some_and(lowers)
    }
}
