//! Owns the JSON of what the store says, in the shapes of the HTTP interface, so that an answer is
//! the same whoever gave it; and how those shapes are shown to people.
//!
//! Refuses to know where an answer comes from. Bound: one answer.

use indicatif::{HumanBytes, HumanCount};
use serde_json::{Map, Value, json};
use truststram_store::{Explanation, Finding, ModelPlan, VerifyReport};

use crate::cli::output;

/// How predictions or figures were found.
pub(super) fn explanation(explanation: &Explanation) -> Value {
    json!({
        "plan": explanation.plan,
        "months": explanation.months,
        "rows": explanation.rows,
        "rows_examined": explanation.rows_examined,
        "rows_from_memory": explanation.rows_from_memory,
        "index_entries": explanation.index_entries,
        "segments_read": explanation.segments_read,
        "segments_cached": explanation.segments_cached,
        "segments_skipped": explanation.segments_skipped,
        "pages_read": explanation.pages_read,
        "duration_us": explanation.duration_us,
    })
}

/// How models were found.
pub(super) fn model_plan(plan: &ModelPlan, rows: usize, duration_us: u64) -> Value {
    json!({
        "index": plan.index,
        "is_scan": plan.is_scan,
        "terms": plan.terms,
        "seeks": plan.seeks,
        "entries_read": plan.entries_read,
        "rows_read": plan.rows_read,
        "rechecked": plan.rechecked,
        "pages_cached": plan.pages.cached,
        "pages_read": plan.pages.from_file,
        "rows": rows,
        "duration_us": duration_us,
    })
}

/// What a check found.
pub(super) fn report(report: &VerifyReport) -> Value {
    let checked = &report.checked;
    json!({
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "checked": {
            "segments": checked.segments,
            "rows": checked.rows,
            "bytes": checked.bytes,
        },
        "is_sealed": report.is_sealed,
        "files": report.files,
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "path": finding.path,
        "table": finding.table,
        "key": finding.key,
        "problem": finding.problem.to_string(),
    })
}

/// A finding as a line.
pub(super) fn finding_line(finding: &Value) -> String {
    let text = |key: &str| finding[key].as_str().unwrap_or_default();
    let place = match text("table") {
        "" => String::new(),
        table => format!(" table {table} key {}", text("key")),
    };
    format!("{}{place}: {}\n", text("path"), text("problem"))
}

/// The rows of `answer`, with the named fields as columns.
pub(super) fn table(rows: &[Value], columns: &[(&str, &str)]) -> String {
    let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
    let row = |row: &Value| columns.iter().map(|(_, key)| cell(key, &row[*key])).collect();
    output::table(&heads, &rows.iter().map(row).collect::<Vec<Vec<String>>>())
}

/// Facts one below the other.
pub(super) fn facts(facts: &Map<String, Value>) -> String {
    let rows: Vec<Vec<String>> =
        facts.iter().map(|(key, value)| vec![key.clone(), cell(key, value)]).collect();
    let widest = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0);
    rows.iter().map(|row| format!("{:<widest$}  {}\n", row[0], row[1])).collect()
}

/// What `--explain` adds below an answer.
pub(super) fn explained(answer: &Value) -> String {
    match answer["explain"].as_object() {
        Some(explanation) => format!("\n{}", facts(explanation)),
        None => String::new(),
    }
}

/// A value for people; what it counts is told from its name.
pub(super) fn cell(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_u64() {
            Some(bytes) if key.split('_').any(|word| word == "bytes") => {
                HumanBytes(bytes).to_string()
            }
            Some(count) if is_count(key) => HumanCount(count).to_string(),
            _ => number
                .as_f64()
                .filter(|_| number.is_f64())
                .map_or_else(|| number.to_string(), |decimal| format!("{decimal:.4}")),
        },
        other => other.to_string(),
    }
}

fn is_count(key: &str) -> bool {
    !key.ends_with("version") && !key.ends_with("_us")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_by_what_they_count() {
        let check = |key: &str, value: Value, expected: &str| {
            assert_eq!(cell(key, &value), expected, "{key}");
        };
        check("file_bytes", json!(2048), "2.00 KiB");
        check("bytes_after", json!(3), "3 B");
        check("rows", json!(1_234_567), "1,234,567");
        check("model_version", json!(12_345), "12345");
        check("duration_us", json!(12_345), "12345");
        check("confidence", json!(0.25), "0.2500");
        check("user_id", Value::Null, "-");
        check("active", json!(true), "true");
    }
}
