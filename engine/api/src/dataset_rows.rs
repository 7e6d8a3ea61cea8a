//! Owns the body that appends rows to a data set: a JSON list, or one JSON object per line.
//!
//! Every row that is not acceptable is named by its place and field. Refuses to know where rows
//! go. Bound: [`ROW_COUNT_MAX`] rows, and the body by the gateway; it is read at most three times.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use truststram_base::Kind;
use truststram_base::limits::{FEATURE_COUNT_MAX, TEXT_BYTES_MAX};
use utoipa::ToSchema;

use crate::explain::{
    FIELD_TWICE, malformed, must_be, name_of, number_errors, offset_of, quote_non_finite,
};
use crate::ports::NewRow;
use crate::problem::{ERRORS_MAX, FieldError, Problem};

/// Most rows of one body.
const ROW_COUNT_MAX: usize = 262_144;

/// How the rows of a body are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One list of objects.
    List,
    /// One object per line.
    Lines,
}

/// A row to append.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRowBody<'a> {
    /// The input: finite numbers, as many as every other row of the data set has. Absent where
    /// there is a `text`.
    #[serde(default)]
    features: Option<Vec<f32>>,
    /// The input of a data set of texts, 1 byte to 256 KiB.
    #[serde(default, borrow)]
    #[schema(value_type = Option<String>)]
    text: Option<Cow<'a, str>>,
    /// The right answer, where it is known.
    label: Option<String>,
    /// What else is known of it: any JSON object.
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<&'a RawValue>,
}

/// Reads all rows, or says what is wrong with the first of those that are not acceptable.
pub(crate) fn read(body: &[u8], format: Format) -> Result<Vec<NewRow>, Problem> {
    let readable = quote_non_finite(body);
    let texts = match format {
        Format::List => list(&readable)?,
        Format::Lines => lines(&readable)?,
    };
    let found = texts.len();
    if found == 0 || found > ROW_COUNT_MAX {
        let message = format!("must hold 1 to {ROW_COUNT_MAX} rows, found {found}");
        return Err(Problem::invalid(vec![FieldError::new("body", message)]));
    }
    let mut rows = Vec::with_capacity(found);
    let mut errors = Vec::new();
    for (place, text) in texts.into_iter().enumerate() {
        match read_one(text) {
            Some(row) => rows.push(row),
            None => errors.extend(row_errors(place, text)),
        }
        if errors.len() >= ERRORS_MAX {
            break;
        }
    }
    if errors.is_empty() { Ok(rows) } else { Err(Problem::invalid(errors)) }
}

fn list(body: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            Problem::invalid(vec![FieldError::new("body", "must be a list of rows")])
        } else {
            malformed(body, &error)
        }
    })
}

fn lines(body: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let mut rows = Vec::new();
    let mut start = 0;
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        if !line.trim_ascii().is_empty() {
            let row = serde_json::from_slice(line).map_err(|error| {
                let offset = start + offset_of(line, error.line(), error.column());
                let (row, source) = (rows.len(), error);
                let detail = format!("row {row} is not JSON at byte {offset}: {source}");
                Problem { offset: Some(offset), ..Problem::new(Kind::Malformed, detail) }
            })?;
            rows.push(row);
        }
        start += line.len();
    }
    Ok(rows)
}

fn read_one(text: &RawValue) -> Option<NewRow> {
    let row: NewRowBody<'_> = serde_json::from_str(text.get()).ok()?;
    let is_right = match (&row.features, &row.text) {
        (Some(features), None) => {
            let is_finite = features.iter().all(|value| value.is_finite());
            is_finite && (1..=FEATURE_COUNT_MAX).contains(&features.len())
        }
        (None, Some(text)) => (1..=TEXT_BYTES_MAX).contains(&text.len()),
        (Some(_), Some(_)) | (None, None) => false,
    };
    let metadata = row.metadata.map_or("{}", RawValue::get);
    (is_right && metadata.starts_with('{')).then(|| NewRow {
        features: row.features.unwrap_or_default(),
        text: row.text.map(Cow::into_owned),
        label: row.label,
        metadata_json: metadata.to_owned(),
    })
}

/// What is wrong with a row that was not read.
fn row_errors(place: usize, text: &RawValue) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, index: Option<usize>, message: String| {
        errors.push(FieldError { row: Some(place), index, ..FieldError::new(field, message) });
    };
    match serde_json::from_str(text.get()) {
        Ok(Value::Object(fields)) => {
            for key in fields.keys().filter(|key| !is_known(key)) {
                let shown: String = key.chars().take(64).collect();
                let known = "features, text, label and metadata";
                wrong(&shown, None, format!("is not a known field; {known} are"));
            }
            let given = |key| fields.get(key).filter(|value| !value.is_null());
            match (given("features"), given("text")) {
                (None, None) => {
                    let message = "is missing; give the input as `features` or as `text`";
                    wrong("features", None, message.to_owned());
                }
                (Some(_), Some(_)) => {
                    let message = "is given beside `features`; a row has one of them";
                    wrong("text", None, message.to_owned());
                }
                (Some(features), None) => match features {
                    Value::Array(items) if items.is_empty() => {
                        wrong("features", None, "holds no number".to_owned());
                    }
                    Value::Array(items) => number_errors("features", items, &mut wrong),
                    other => wrong("features", None, must_be("a list of numbers", other)),
                },
                (None, Some(text)) => text_error(text, &mut wrong),
            }
            match fields.get("label") {
                None | Some(Value::Null | Value::String(_)) => {}
                Some(other) => wrong("label", None, must_be("text", other)),
            }
            match fields.get("metadata") {
                None | Some(Value::Null | Value::Object(_)) => {}
                Some(other) => wrong("metadata", None, must_be("an object", other)),
            }
        }
        Ok(other) => wrong("body", None, format!("must be an object, found {}", name_of(&other))),
        Err(error) => wrong("body", None, format!("cannot be read: {error}")),
    }
    if errors.is_empty() {
        let row = Some(place);
        errors.push(FieldError { row, ..FieldError::new("body", FIELD_TWICE) });
    }
    errors
}

fn text_error(text: &Value, wrong: &mut impl FnMut(&str, Option<usize>, String)) {
    match text {
        Value::String(text) if (1..=TEXT_BYTES_MAX).contains(&text.len()) => {}
        Value::String(text) => {
            let found = text.len();
            wrong("text", None, format!("must have 1 to {TEXT_BYTES_MAX} bytes, found {found}"));
        }
        other => wrong("text", None, must_be("text", other)),
    }
}

fn is_known(key: &str) -> bool {
    matches!(key, "features" | "text" | "label" | "metadata")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_and_lines_hold_the_same_rows() {
        let rows = [
            r#"{"features":[1,2.5],"label":"a","metadata":{"k": [1.0]}}"#,
            r#"{"features":[0]}"#,
            r#"{"metadata":null,"label":null,"features":[-0]}"#,
        ];
        let list = format!("[{}]", rows.join(","));
        let lines = format!("\n{}\r\n\n", rows.join("\n"));
        let found = read(list.as_bytes(), Format::List).unwrap();
        assert_eq!(read(lines.as_bytes(), Format::Lines).unwrap(), found);
        let row = |features: &[f32], label: Option<&str>, metadata: &str| NewRow {
            features: features.to_vec(),
            text: None,
            label: label.map(str::to_owned),
            metadata_json: metadata.to_owned(),
        };
        assert_eq!(found[0], row(&[1.0, 2.5], Some("a"), r#"{"k": [1.0]}"#));
        assert_eq!(found[1], row(&[0.0], None, "{}"));
        assert_eq!(found.len(), 3);
        let texts = "{\"text\":\"a \\\"b\\\"\\n\",\"label\":\"c\"}\n\
                     {\"features\":null,\"text\":\"NaN\"}";
        let found = read(texts.as_bytes(), Format::Lines).unwrap();
        let text =
            |text: &str, label| NewRow { text: Some(text.to_owned()), ..row(&[], label, "{}") };
        assert_eq!(found, [text("a \"b\"\n", Some("c")), text("NaN", None)]);
    }

    #[test]
    fn each_fault_is_named_with_its_row_and_field() {
        let check = |text: &str, format: Format, status: u16, expected: &str| {
            let problem = read(text.as_bytes(), format).unwrap_err();
            assert_eq!(problem.status, status, "{text}: {problem:?}");
            assert!(problem.detail.contains(expected), "{text}: {}", problem.detail);
        };
        let row = |row: &str, expected: &str| {
            check(&format!(r#"[{{"features":[1]}},{row}]"#), Format::List, 422, expected);
            check(&format!("{{\"features\":[1]}}\n{row}"), Format::Lines, 422, expected);
        };
        row(r#"{"features":[1,NaN]}"#, "row 1: features[1] must be a finite number");
        row(r#"{"features":[1e39]}"#, "row 1: features[0] is beyond the range");
        row(r#"{"features":["1"]}"#, "row 1: features[0] must be a number, found text");
        row(r#"{"features":[]}"#, "row 1: features holds no number");
        row(r#"{"features":7}"#, "row 1: features must be a list of numbers");
        row(r#"{"label":"a"}"#, "row 1: features is missing");
        row(r#"{"features":[1],"text":"a"}"#, "row 1: text is given beside `features`");
        row(r#"{"text":""}"#, "row 1: text must have 1 to 262144 bytes, found 0");
        row(r#"{"text":["a"]}"#, "row 1: text must be text, found a list");
        let long = format!(r#"{{"text":"{}"}}"#, "a".repeat((256 << 10) + 1));
        row(&long, "row 1: text must have 1 to 262144 bytes, found 262145");
        row(r#"{"features":[1],"label":3}"#, "row 1: label must be text, found a number");
        row(r#"{"features":[1],"metadata":[]}"#, "row 1: metadata must be an object");
        row(r#"{"features":[1],"lable":"a"}"#, "row 1: lable is not a known field");
        row(r#"{"features":[1],"label":"a","label":"b"}"#, "row 1: body cannot be read");
        row("3", "row 1: body must be an object, found a number");
        check("[]", Format::List, 422, "must hold 1 to");
        check("\n\n", Format::Lines, 422, "must hold 1 to");
        check("{}", Format::List, 422, "must be a list of rows");
        check("[{]", Format::List, 400, "at byte 2");
        check("{\"features\":[1]}\n{oops}", Format::Lines, 400, "row 1 is not JSON at byte 18");
        let many = format!("[{}]", vec!["0"; 40].join(","));
        assert_eq!(read(many.as_bytes(), Format::List).unwrap_err().errors.len(), ERRORS_MAX);
    }
}
