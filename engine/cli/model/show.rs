//! Owns how models and versions are printed.
//!
//! Refuses to ask for them. Bound: the registry of one server.

use serde_json::Value;

use crate::cli::{Failure, output};

/// Prints all models.
pub(super) fn models(answer: &Value, json: bool) -> Result<(), Failure> {
    if json { output::json(answer) } else { output::text(&list(answer)) }
}

/// Prints one model with its versions.
pub(super) fn model(answer: &Value, json: bool) -> Result<(), Failure> {
    if json { output::json(answer) } else { output::text(&versions(answer)) }
}

/// Prints one version with all that is known of it.
pub(super) fn version(answer: &Value, json: bool) -> Result<(), Failure> {
    if json { output::json(answer) } else { output::text(&facts(answer)) }
}

fn list(answer: &Value) -> String {
    let models = answer["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |model: &Value| {
        let active = model["versions"].as_array().into_iter().flatten();
        let active = active.clone().find(|version| version["active"] == true);
        let version = active.unwrap_or(&Value::Null);
        vec![
            cell(&model["id"]),
            cell(&model["active_version"]),
            cell(&version["architecture"]),
            cell(&version["feature_count"]),
            version["classes"].as_array().map_or(0, Vec::len).to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = models.iter().map(row).collect();
    output::table(&["id", "active version", "architecture", "features", "classes"], &rows)
}

fn versions(model: &Value) -> String {
    let versions = model["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |version: &Value| {
        vec![
            cell(&version["version"]),
            cell(&version["active"]),
            cell(&version["architecture"]),
            cell(&version["feature_count"]),
            cell(&version["created"]),
            pairs(&version["metrics"]),
        ]
    };
    let rows: Vec<Vec<String>> = versions.iter().map(row).collect();
    let heads = ["version", "active", "architecture", "features", "created", "metrics"];
    format!("model {}\n{}", cell(&model["id"]), output::table(&heads, &rows))
}

fn facts(version: &Value) -> String {
    let fields = version.as_object().into_iter().flatten();
    let shown = fields.filter(|(name, _)| !matches!(name.as_str(), "model_id" | "version"));
    let rows: Vec<Vec<String>> =
        shown.map(|(name, value)| vec![name.clone(), words(value)]).collect();
    let head = format!("{} version {}", cell(&version["model_id"]), cell(&version["version"]));
    output::table(&[head.as_str(), ""], &rows)
}

/// A value of any kind in few words.
pub(super) fn words(value: &Value) -> String {
    match value {
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.contains_key("datatype") => tensor(value),
        Value::Object(_) => pairs(value),
        other => cell(other),
    }
}

/// `name FP32[?, 4]`.
fn tensor(tensor: &Value) -> String {
    let sizes = tensor["shape"].as_array().into_iter().flatten();
    let sizes: Vec<String> =
        sizes.map(|size| if *size == -1 { "?".to_owned() } else { cell(size) }).collect();
    let (name, datatype) = (cell(&tensor["name"]), cell(&tensor["datatype"]));
    format!("{name} {datatype}[{}]", sizes.join(", "))
}

/// `name=value` of each field.
fn pairs(value: &Value) -> String {
    let fields = value.as_object().into_iter().flatten();
    let pairs: Vec<String> =
        fields.map(|(name, value)| format!("{name}={}", cell(value))).collect();
    if pairs.is_empty() { "-".to_owned() } else { pairs.join(" ") }
}

/// One value.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(decimal) => format!("{decimal:.4}"),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_any_kind_are_few_words() {
        let check = |value: Value, expected: &str| assert_eq!(words(&value), expected);
        check(json!(null), "-");
        check(json!([]), "-");
        check(json!({}), "-");
        check(json!(["a", 1]), "a, 1");
        check(json!({ "accuracy": 0.97123 }), "accuracy=0.9712");
        check(json!([{ "name": "x", "datatype": "FP32", "shape": [-1, 4] }]), "x FP32[?, 4]");
    }
}
