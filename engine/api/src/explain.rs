//! Owns the explanation of a prediction body that was refused: the offset at which it stops being
//! JSON, or the field and index of each unacceptable value.
//!
//! Refuses to know the fast path: it runs only after that has failed, so it may be slow. Bound: a
//! body within the gateway's limit, nested at most 128 deep, read three times.

use std::borrow::Cow;

use serde_json::Value;
use truststram_base::{Kind, ModelId, UserId, limits::FEATURE_COUNT_MAX};

use crate::problem::{ERRORS_MAX, FieldError, Problem};

/// What is wrong with an object whose fields are all right.
pub(crate) const FIELD_TWICE: &str = "cannot be read; look for a field that is given twice";

/// What stands in for a number that JSON cannot express, repeated to the length of its text.
const NOT_FINITE: u8 = b'~';
const NOT_FINITE_WORDS: &str = "must be a finite number, found NaN, Infinity or a number too large";

/// Says what is wrong with `body`.
pub(crate) fn explain(body: &[u8]) -> Problem {
    match serde_json::from_slice::<Value>(&quote_non_finite(body)) {
        Ok(value) => Problem::invalid(field_errors(&value)),
        Err(error) => malformed(body, &error),
    }
}

/// A body that is not JSON.
pub(crate) fn malformed(body: &[u8], error: &serde_json::Error) -> Problem {
    let offset = offset_of(body, error.line(), error.column());
    let detail = format!("the body is not JSON at byte {offset}: {error}");
    Problem { offset: Some(offset), ..Problem::new(Kind::Malformed, detail) }
}

/// The byte offset of a line and column as `serde_json` counts them: lines from 1, columns in
/// bytes, where the column is that of the last byte read.
pub(crate) fn offset_of(body: &[u8], line: usize, column: usize) -> usize {
    let skipped = body.split_inclusive(|&byte| byte == b'\n').take(line.saturating_sub(1));
    let start: usize = skipped.map(<[u8]>::len).sum();
    (start + column.saturating_sub(1)).min(body.len())
}

/// Python's `json.dumps` writes `NaN`, `Infinity` and `-Infinity`, which are not JSON, and a
/// number such as `1e999` is JSON but no float. Each is replaced by a text of the same length, so
/// that the rest can be read and offsets stay true.
pub(crate) fn quote_non_finite(body: &[u8]) -> Cow<'_, [u8]> {
    let mut fixed = Cow::Borrowed(body);
    let mut at = 0;
    while at < body.len() {
        match body[at] {
            b'"' => at = end_of_string(body, at),
            b'N' | b'I' | b'-' | b'0'..=b'9' => {
                let end = body[at..]
                    .iter()
                    .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(byte)))
                    .map_or(body.len(), |length| at + length);
                if is_non_finite(&body[at..end]) {
                    let text = &mut fixed.to_mut()[at..end];
                    text.fill(NOT_FINITE);
                    text[0] = b'"';
                    text[end - at - 1] = b'"';
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    fixed
}

/// Where the string literal ends that begins at `start`.
pub(crate) fn end_of_string(body: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < body.len() && body[at] != b'"' {
        at += if body[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(body.len())
}

fn is_non_finite(token: &[u8]) -> bool {
    match token {
        b"NaN" | b"-NaN" | b"Infinity" | b"-Infinity" => true,
        _ => {
            let is_number = token
                .iter()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
            let text = std::str::from_utf8(token).unwrap_or_default();
            is_number && text.parse::<f64>().is_ok_and(f64::is_infinite)
        }
    }
}

fn field_errors(value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, index: Option<usize>, message: String| {
        errors.push(FieldError { index, ..FieldError::new(field, message) });
    };
    let Value::Object(object) = value else {
        wrong("body", None, format!("must be an object, found {}", name_of(value)));
        return errors;
    };
    for key in object.keys() {
        if key == "texts" {
            let message = "is for POST /api/v1/predict/batch; one prediction takes one `text`";
            wrong(key, None, message.to_owned());
        } else if !matches!(key.as_str(), "model_id" | "version" | "user_id" | "data" | "text") {
            let known = "model_id, version, user_id, data and text";
            let shown: String = key.chars().take(64).collect();
            wrong(&shown, None, format!("is not a known field; {known} are"));
        }
    }
    match object.get("model_id") {
        None => wrong("model_id", None, "is missing".to_owned()),
        Some(Value::String(id)) => {
            if let Err(error) = ModelId::new(id) {
                wrong("model_id", None, error.to_string());
            }
        }
        Some(other) => wrong("model_id", None, must_be("text", other)),
    }
    match object.get("version") {
        None | Some(Value::Null) => {}
        Some(version) if version.as_u64().is_some_and(|n| u32::try_from(n).is_ok()) => {}
        Some(other) => wrong("version", None, must_be("a whole number from 1", other)),
    }
    match object.get("user_id") {
        None | Some(Value::Null) => {}
        Some(Value::String(id)) => {
            if let Err(error) = UserId::new(id) {
                wrong("user_id", None, error.to_string());
            }
        }
        Some(other) => wrong("user_id", None, must_be("text", other)),
    }
    // What is `null` is not given.
    let given = |field: &str| object.get(field).filter(|value| !value.is_null());
    match (given("data"), given("text")) {
        (None, None) => wrong("data", None, "is missing".to_owned()),
        (Some(Value::Array(items)), None) => number_errors("data", items, &mut wrong),
        (Some(Value::Object(fields)), None) => {
            for (key, value) in fields {
                let shown: String = key.chars().take(64).collect();
                let items = std::slice::from_ref(value);
                let items = value.as_array().map_or(items, Vec::as_slice);
                if items.iter().any(is_not_finite) {
                    wrong(&format!("data.{shown}"), None, NOT_FINITE_WORDS.to_owned());
                }
            }
        }
        (Some(other), None) => {
            wrong("data", None, must_be("a list of numbers, or an object", other));
        }
        (_, Some(Value::String(_))) => {}
        (_, Some(other)) => wrong("text", None, must_be("text", other)),
    }
    if errors.is_empty() {
        // The fast path refuses a repeated field, which a `Value` does not remember.
        errors.push(FieldError::new("body", FIELD_TWICE));
    }
    errors
}

/// Whether it stands in for a number that JSON cannot express.
fn is_not_finite(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    !text.is_empty() && text.bytes().all(|byte| byte == NOT_FINITE)
}

/// Says what is wrong with a list of features.
pub(crate) fn number_errors(
    field: &str,
    items: &[Value],
    wrong: &mut impl FnMut(&str, Option<usize>, String),
) {
    if items.len() > FEATURE_COUNT_MAX {
        let found = items.len();
        wrong(field, None, format!("holds {found} numbers, more than {FEATURE_COUNT_MAX}"));
    }
    let bad = items.iter().enumerate().filter_map(|(index, item)| match item {
        Value::Number(number) => {
            let finite = number.as_f64().is_some_and(|number| (number as f32).is_finite());
            (!finite).then(|| (index, "is beyond the range of 32-bit floats".to_owned()))
        }
        item if is_not_finite(item) => Some((index, NOT_FINITE_WORDS.to_owned())),
        other => Some((index, must_be("a number", other))),
    });
    for (index, message) in bad.take(ERRORS_MAX) {
        wrong(field, Some(index), message);
    }
}

pub(crate) fn must_be(expected: &str, found: &Value) -> String {
    format!("must be {expected}, found {}", name_of(found))
}

pub(crate) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_named_with_its_place() {
        let check = |body: &str, status: u16, expected: &str| {
            let problem = explain(body.as_bytes());
            assert_eq!(problem.status, status, "{body}: {problem:?}");
            assert!(problem.detail.contains(expected), "{body}: {}", problem.detail);
        };
        let data = |data: &str| format!(r#"{{"model_id":"m","data":{data}}}"#);
        check(&data("[1,NaN]"), 422, "data[1] must be a finite number");
        check(&data("[-Infinity]"), 422, "data[0] must be a finite");
        check(&data("[1,2,1e999]"), 422, "data[2] must be a finite");
        check(&data("[1e39]"), 422, "data[0] is beyond the range of 32-bit floats");
        check(&data(r#"[1,"NaN"]"#), 422, "data[1] must be a number, found text");
        check(&data("[1,null,[]]"), 422, "data[1] must be a number, found null (1 more)");
        check(&data("7"), 422, "data must be a list of numbers, or an object, found a number");
        check(r#"{"model_id":7,"data":[]}"#, 422, "model_id must be text, found a number");
        check(r#"{"model_id":"A","data":[]}"#, 422, "model_id has a character");
        check(r#"{"model_id":"m"}"#, 422, "data is missing");
        check(r#"{"model_id":"m","data":[],"usr":1}"#, 422, "usr is not a known field");
        check(r#"{"model_id":"m","texts":["a"]}"#, 422, "texts is for POST /api/v1/predict/batch");
        check(r#"{"model_id":"m","data":[],"version":-1}"#, 422, "version must be a whole number");
        check(r#"{"model_id":"m","data":[],"user_id":""}"#, 422, "user_id is empty");
        check(r#"{"model_id":"m","data":[],"data":[]}"#, 422, "given twice");
        check("[]", 422, "body must be an object, found a list");
        check("", 400, "at byte 0");
        check(r#"{"model_id": nope}"#, 400, "at byte 14");
        check("{\n\"data\": [1,]}", 400, "at byte 13");
        check(r#"{"a":"\"NaN","#, 400, "not JSON");
    }
}
