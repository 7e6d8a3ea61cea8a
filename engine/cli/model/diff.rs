//! Owns the comparison of two versions of a model.
//!
//! Refuses to judge which is better. Bound: what is known of two versions.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::show::{cell, words};
use crate::cli::output;

/// What is compared as a whole.
const FIELDS: [&str; 12] = [
    "state",
    "architecture",
    "format",
    "inputs",
    "outputs",
    "feature_count",
    "feature_names",
    "classes",
    "bytes",
    "parameter_count",
    "sha256",
    "created",
];
/// What is compared name by name.
const NAMED: [&str; 2] = ["metrics", "operators"];

/// One line per thing compared: what it is, both values, whether they are the same, and for numbers
/// how much the second is more.
pub(super) fn compare(a: &Value, b: &Value) -> Value {
    let mut lines: Vec<Value> =
        FIELDS.iter().map(|field| line(field, &a[*field], &b[*field])).collect();
    for field in NAMED {
        let names = |value: &Value| -> BTreeSet<String> {
            value[field].as_object().into_iter().flat_map(Map::keys).cloned().collect()
        };
        for name in names(a).union(&names(b)) {
            let what = format!("{field}.{name}");
            lines.push(line(&what, &a[field][name.as_str()], &b[field][name.as_str()]));
        }
    }
    let schema = ["inputs", "outputs", "classes", "feature_names"];
    let same_schema = schema.iter().all(|field| a[*field] == b[*field]);
    json!({
        "model_id": a["model_id"],
        "a": a["version"],
        "b": b["version"],
        "same_schema": same_schema,
        "differences": lines,
    })
}

fn line(what: &str, a: &Value, b: &Value) -> Value {
    let mut line = json!({ "what": what, "a": a, "b": b, "same": a == b });
    if let (Some(from), Some(to)) = (a.as_f64(), b.as_f64()) {
        let change = match (a.as_i64(), b.as_i64()) {
            (Some(from), Some(to)) => json!(to.saturating_sub(from)),
            _ => json!(to - from),
        };
        line["change"] = change;
    }
    line
}

/// The comparison for people: what differs, with a mark.
pub(super) fn table(differences: &Value) -> String {
    let lines = differences["differences"].as_array().into_iter().flatten();
    let row = |line: &Value| {
        let change = match &line["change"] {
            _ if line["same"] == true => "same".to_owned(),
            Value::Null => "differs".to_owned(),
            change if change.as_f64().is_some_and(|change| change > 0.0) => {
                format!("+{}", cell(change))
            }
            change => cell(change),
        };
        let is_hash = line["what"] == "sha256";
        let shown = |side: &str| -> String {
            let text = words(&line[side]);
            // The beginning tells two checksums apart, and all of it is in the JSON.
            if is_hash { text.chars().take(12).collect() } else { text }
        };
        vec![cell(&line["what"]), shown("a"), shown("b"), change]
    };
    let rows: Vec<Vec<String>> = lines.map(row).collect();
    let version = |side: &str| format!("version {}", cell(&differences[side]));
    let heads = [cell(&differences["model_id"]), version("a"), version("b"), String::new()];
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let schema = match differences["same_schema"] == true {
        true => "Both take and give the same.",
        false => "They differ in what they take or give: one cannot stand in for the other.",
    };
    format!("{}{schema}\n", output::table(&heads, &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_with_its_change() {
        let version = |version: u32, bytes: u64, metrics: Value| {
            json!({
                "model_id": "m", "version": version, "bytes": bytes, "metrics": metrics,
                "classes": ["a"], "operators": { "Gemm": version },
            })
        };
        let a = version(1, 100, json!({ "accuracy": 0.5 }));
        let b = version(2, 90, json!({ "accuracy": 0.75, "loss": 1.0 }));
        let found = compare(&a, &b);
        assert_eq!((&found["a"], &found["same_schema"]), (&json!(1), &json!(true)));
        let of = |what: &str| {
            let lines = found["differences"].as_array().unwrap();
            lines.iter().find(|line| line["what"] == what).unwrap().clone()
        };
        assert_eq!(of("bytes")["change"], -10);
        assert_eq!(of("metrics.accuracy")["change"], 0.25);
        assert_eq!(of("metrics.loss")["a"], Value::Null);
        assert_eq!(of("operators.Gemm")["change"], 1);
        let text = table(&found);
        for part in ["version 1", "-10", "+0.2500", "differs", "same", "Both take and give"] {
            assert!(text.contains(part), "{text} lacks {part}");
        }
        let mut other = b.clone();
        other["classes"] = json!(["b"]);
        assert!(table(&compare(&a, &other)).contains("They differ in what they take"));
    }
}
