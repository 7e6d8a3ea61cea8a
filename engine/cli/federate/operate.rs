//! Owns what operators do to the federation of a running server.
//!
//! Refuses to judge a description: the server does. Bound: one request.

use std::path::Path;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use crate::cli::client::{AdminArgument, ServerArgument};
use crate::cli::{Failure, output};

pub(super) fn start(spec: &Path, server: &AdminArgument, as_json: bool) -> Result<(), Failure> {
    let place = spec.display();
    let text = std::fs::read_to_string(spec).with_context(|| format!("cannot read {place}"))?;
    let spec: Value =
        toml::from_str(&text).map_err(|error| Failure::Usage(anyhow!("{place}: {error}")))?;
    let body = spec.to_string();
    print(&server.send("POST", "/admin/v1/federation", body.as_bytes())?, as_json)
}

pub(super) fn stop(server: &AdminArgument, as_json: bool) -> Result<(), Failure> {
    print(&server.send("POST", "/admin/v1/federation/stop", b"{}")?, as_json)
}

pub(super) fn status(server: &ServerArgument, as_json: bool) -> Result<(), Failure> {
    print(&server.get("/api/v1/fl/status")?, as_json)
}

pub(super) fn tokens(
    count: usize,
    hours: u64,
    server: &AdminArgument,
    as_json: bool,
) -> Result<(), Failure> {
    let body = json!({ "count": count, "valid_s": hours.saturating_mul(3_600) }).to_string();
    let made = server.send("POST", "/admin/v1/federation/tokens", body.as_bytes())?;
    if as_json {
        return output::json(&made);
    }
    let tokens = made["tokens"].as_array().into_iter().flatten().filter_map(Value::as_str);
    output::text(&tokens.map(|token| format!("{token}\n")).collect::<String>())
}

fn print(status: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::json(status);
    }
    let mut rows = Vec::new();
    flatten("", status, &mut rows);
    output::text(&output::table(&["federation", ""], &rows))
}

/// The values below a name, each a row.
fn flatten(name: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name} {key}") };
                flatten(&name, value, rows);
            }
        }
        Value::Null => {}
        Value::String(text) => rows.push(vec![name.to_owned(), text.clone()]),
        other => rows.push(vec![name.to_owned(), other.to_string()]),
    }
}
