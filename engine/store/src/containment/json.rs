//! Owns a parsed JSON document whose numbers are the decimals that the text states: `1`, `1.0` and
//! `1e0` are one number, and no digit is lost on the way through a float.
//!
//! The grammar is `serde_json`'s; this module asks it for one level at a time and keeps the text of
//! numbers. Refuses to know containment. Bound: the constants of [`super`], and exponents of
//! [`EXPONENT_MAX`].

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;
use thiserror::Error;

use super::{DEPTH_MAX, DOCUMENT_BYTES_MAX};

/// Largest and, negated, smallest power of ten that a number may state.
const EXPONENT_MAX: i64 = 100_000;

/// Why a text is not a document that is kept or looked for.
#[derive(Debug, Error)]
pub enum JsonProblem {
    /// The text is longer than the limit.
    #[error("is longer than {DOCUMENT_BYTES_MAX} bytes")]
    Length,
    /// Values are nested too deeply.
    #[error("is nested deeper than {DEPTH_MAX} levels")]
    Depth,
    /// A pattern has too many values.
    #[error("has more than {} values", super::PATTERN_NODES_MAX)]
    Nodes,
    /// A number's power of ten is beyond what is kept.
    #[error("has a number beyond ten to the power of {EXPONENT_MAX}")]
    Exponent,
    /// The document is not an object.
    #[error("is not a JSON object")]
    NotAnObject,
    /// The text is not JSON.
    #[error("is not JSON: {0}")]
    Grammar(serde_json::Error),
}

/// A document, or a part of one. Of members with one key the last stands, as in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// Reads a document within the bounds.
    pub(crate) fn parse(text: &str) -> Result<Self, JsonProblem> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(JsonProblem::Length);
        }
        // Each level reads its part of the text again, at most `DEPTH_MAX` times in all.
        parse_level(serde_json::from_str(text).map_err(JsonProblem::Grammar)?, 0)
    }

    /// As [`Json::parse`], for what must be an object.
    pub(crate) fn parse_object(text: &str) -> Result<Self, JsonProblem> {
        match Self::parse(text)? {
            object @ Self::Object(_) => Ok(object),
            _ => Err(JsonProblem::NotAnObject),
        }
    }

    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    pub(crate) fn node_count(&self) -> usize {
        match self {
            Self::Array(elements) => 1 + elements.iter().map(Self::node_count).sum::<usize>(),
            Self::Object(members) => 1 + members.values().map(Self::node_count).sum::<usize>(),
            _ => 1,
        }
    }
}

fn parse_level(raw: &RawValue, depth: usize) -> Result<Json, JsonProblem> {
    if depth > DEPTH_MAX {
        return Err(JsonProblem::Depth);
    }
    let text = raw.get();
    let grammar = JsonProblem::Grammar;
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> =
                serde_json::from_str(text).map_err(grammar)?;
            let member = |(key, raw)| Ok((key, parse_level(raw, depth + 1)?));
            Json::Object(members.into_iter().map(member).collect::<Result<_, JsonProblem>>()?)
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(grammar)?;
            let element = |raw| parse_level(raw, depth + 1);
            Json::Array(elements.into_iter().map(element).collect::<Result<_, JsonProblem>>()?)
        }
        Some(b'"') => Json::String(serde_json::from_str(text).map_err(grammar)?),
        Some(b't') => Json::Bool(true),
        Some(b'f') => Json::Bool(false),
        Some(b'n') => Json::Null,
        _ => Json::Number(Number::new(text).ok_or(JsonProblem::Exponent)?),
    })
}

/// A decimal in its one normal form: `digits` times ten to the power of `exponent`, without zeros
/// at either end of the digits. Zero has no digits and no sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Number {
    /// Reads what the JSON grammar has accepted as a number; `None` if its exponent is too large.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        if exponent.abs() > EXPONENT_MAX {
            return None;
        }
        let is_negative = mantissa.starts_with('-');
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{}{fraction}", whole.trim_start_matches('-'));
        let significant = all.trim_start_matches('0');
        let digits = significant.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits: String::new(), exponent: 0 });
        }
        // Lengths are bounded by the document's.
        let trailing = i64::try_from(significant.len() - digits.len()).ok()?;
        let exponent = exponent + trailing - i64::try_from(fraction.len()).ok()?;
        Some(Self { is_negative, digits: digits.to_owned(), exponent })
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative { "-" } else { "" };
        write!(f, "{sign}{}e{}", self.digits, self.exponent)
    }
}
