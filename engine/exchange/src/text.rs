//! Owns values as text, the part that CSV and JSON Lines share.
//!
//! Refuses to know rows and lines. Bound: [`ROW_BYTES_MAX`], and
//! [`truststram_base::limits::FEATURE_COUNT_MAX`] numbers of one list.

use std::borrow::Cow;
use std::io;

use serde_json::value::RawValue;
use truststram_base::limits::FEATURE_COUNT_MAX;

use crate::error::{CellProblem, shown};
use crate::row::{ColumnKind, Value};
use crate::time;

/// Longest row of a text format, in bytes: twice what the most features take.
pub const ROW_BYTES_MAX: u64 = 4 << 20;

/// Longest object of one cell, in bytes; doubled by quotes it still leaves room for the features.
pub const OBJECT_BYTES_MAX: usize = 1 << 20;

/// Appends a number in the fewest digits that read back as the same one. JSON has no NaN and no
/// infinities; they are text, as in the JSON mapping of Protocol Buffers.
pub(crate) fn write_f32(out: &mut Vec<u8>, value: f32) -> io::Result<()> {
    match name_of(value) {
        None => Ok(serde_json::to_writer(out, &value)?),
        Some(name) => {
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
            Ok(())
        }
    }
}

/// The name of a number that has no digits.
pub(crate) fn name_of(value: f32) -> Option<&'static str> {
    match value {
        value if value.is_nan() => Some("NaN"),
        f32::INFINITY => Some("Infinity"),
        f32::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

/// Appends a JSON array of numbers.
pub(crate) fn write_floats(out: &mut Vec<u8>, values: &[f32]) -> io::Result<()> {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_f32(out, *value)?;
    }
    out.push(b']');
    Ok(())
}

/// Reads a cell that is written as plain text; one without text is absent.
pub(crate) fn parse(kind: ColumnKind, text: &str) -> Result<Value<'_>, CellProblem> {
    if text.is_empty() {
        return Ok(Value::Absent);
    }
    let wrong = || CellProblem::value(text, kind.expected());
    Ok(match kind {
        ColumnKind::Text | ColumnKind::LongText => Value::Text(text.into()),
        ColumnKind::Unsigned32 | ColumnKind::Unsigned64 => {
            let number = unsigned(text).filter(|&number| number <= kind.unsigned_max());
            Value::Unsigned(number.ok_or_else(wrong)?)
        }
        ColumnKind::Float => Value::Float(float(text).ok_or_else(wrong)?),
        ColumnKind::Time => Value::Time(time::parse(text).ok_or_else(wrong)?),
        ColumnKind::Floats => Value::Floats(floats(text)?.into()),
        ColumnKind::Object => {
            check_object(text)?;
            Value::Text(text.into())
        }
    })
}

/// Reads a cell that is written as JSON.
pub(crate) fn parse_json(kind: ColumnKind, raw: &RawValue) -> Result<Value<'_>, CellProblem> {
    let text = raw.get();
    let wrong = || CellProblem::value(text, kind.expected());
    match (text.as_bytes().first(), kind) {
        (Some(b'n'), _) => Ok(Value::Absent),
        (Some(b'['), ColumnKind::Floats) => parse(kind, text),
        (Some(b'{'), ColumnKind::Object) => parse(kind, text),
        (Some(b'"'), ColumnKind::Floats | ColumnKind::Unsigned32 | ColumnKind::Unsigned64) => {
            Err(wrong())
        }
        (Some(b'"'), _) => {
            let inner = unquoted(text).ok_or_else(wrong)?;
            if inner.is_empty() {
                return Err(wrong());
            }
            match (kind, inner) {
                (ColumnKind::Text | ColumnKind::LongText, inner) => Ok(Value::Text(inner)),
                (ColumnKind::Float, inner) => named(&inner).map(Value::Float).ok_or_else(wrong),
                (kind, Cow::Borrowed(inner)) => parse(kind, inner),
                (kind, Cow::Owned(inner)) => parse(kind, &inner).map(owned),
            }
        }
        // An id that is a whole number has one writing as text; other numbers have several.
        (Some(b'-' | b'0'..=b'9'), ColumnKind::Text) if text.parse::<i64>().is_ok() => {
            Ok(Value::Text(text.into()))
        }
        (_, ColumnKind::Text | ColumnKind::LongText) => Err(wrong()),
        (Some(b'-' | b'0'..=b'9'), kind) => parse(kind, text),
        _ => Err(wrong()),
    }
}

/// The same value, free of the text it was read from.
fn owned(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Absent => Value::Absent,
        Value::Text(text) => Value::Text(text.into_owned().into()),
        Value::Unsigned(value) => Value::Unsigned(value),
        Value::Float(value) => Value::Float(value),
        Value::Time(value) => Value::Time(value),
        Value::Floats(values) => Value::Floats(values.into_owned().into()),
    }
}

/// The text inside a JSON string; borrowed where nothing is escaped.
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(text).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// A whole number, also with decimals that are zero, as libraries write columns with gaps.
fn unsigned(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_plain = whole.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = !decimals.is_empty() && decimals.bytes().all(|byte| byte == b'0');
    (is_plain && is_whole).then(|| whole.parse().ok())?
}

/// A number, or the name of one that has no digits; never one that digits cannot say in 32 bits.
fn float(text: &str) -> Option<f32> {
    let value = text.parse::<f32>().ok()?;
    (value.is_finite() || named(text).is_some()).then_some(value)
}

/// A number that has no digits, by the names that libraries give it.
fn named(text: &str) -> Option<f32> {
    let has_digits = text.bytes().any(|byte| byte.is_ascii_digit());
    (!has_digits).then(|| text.parse::<f32>().ok())?
}

/// Reads a JSON array of numbers.
fn floats(text: &str) -> Result<Vec<f32>, CellProblem> {
    let inner = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let expected = ColumnKind::Floats.expected();
    let inner = inner.ok_or_else(|| CellProblem::value(text, expected))?.trim();
    let mut values = Vec::new();
    if inner.is_empty() {
        return Ok(values);
    }
    for (index, piece) in inner.split(',').enumerate() {
        if index == FEATURE_COUNT_MAX {
            return Err(CellProblem::TooManyFeatures { count_max: FEATURE_COUNT_MAX });
        }
        let piece = piece.trim();
        let quoted = piece.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let value = match quoted {
            Some(name) => named(name),
            None => float(piece),
        };
        values.push(value.ok_or_else(|| CellProblem::Element {
            index,
            found: shown(piece),
            expected: ColumnKind::Float.expected(),
        })?);
    }
    Ok(values)
}

/// Whether `text` is one JSON object, without building it.
pub(crate) fn check_object(text: &str) -> Result<(), CellProblem> {
    if text.len() > OBJECT_BYTES_MAX {
        let (bytes, bytes_max) = (text.len(), OBJECT_BYTES_MAX);
        return Err(CellProblem::TooLong { bytes, bytes_max });
    }
    let raw = serde_json::from_str::<&RawValue>(text);
    if raw.is_ok_and(|raw| raw.get().starts_with('{')) {
        return Ok(());
    }
    Err(CellProblem::value(text, ColumnKind::Object.expected()))
}
