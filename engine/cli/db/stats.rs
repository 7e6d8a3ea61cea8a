//! Owns `db stats`: what is kept, month by month, and what the log holds; of a server also what it
//! counted since it started.
//!
//! Refuses to change anything. Bound: one line per month.

use serde_json::{Map, Value, json};

use super::place::{AdminPlace, Local, Reached, failed};
use super::shape;
use crate::cli::{Failure, output};

pub(super) fn run(place: &AdminPlace, as_json: bool) -> Result<(), Failure> {
    let answer = match place.reach()? {
        Reached::Here(local) => local.with(stats)?,
        Reached::Server(server) => server.send("GET", "/admin/v1/store", &[])?,
    };
    if as_json { output::json(&answer) } else { output::text(&shown(&answer)) }
}

fn stats(local: &Local) -> Result<Value, Failure> {
    // What the log held when it was opened may be in the month files already.
    local.store.apply_now().map_err(failed)?;
    let stats = local.store.stats();
    let months: Vec<Value> = local
        .store
        .months()
        .map_err(failed)?
        .iter()
        .map(|month| json!({ "month": month.month, "rows": month.rows, "bytes": month.bytes }))
        .collect();
    let log = local.path.join("log");
    let log_bytes = ["even.log", "odd.log"]
        .map(|name| log.join(name).metadata().map_or(0, |metadata| metadata.len()));
    Ok(json!({
        "path": stats.path,
        "file_bytes": stats.file_bytes,
        "log_bytes": log_bytes.iter().sum::<u64>(),
        "months": stats.months,
        "month_files": months,
        "rows_in_log": stats.rows_in_log,
    }))
}

/// The months as a table, and below it one fact a line.
fn shown(answer: &Value) -> String {
    let mut text = String::new();
    if let Some(months) = answer["month_files"].as_array() {
        let columns = [("month", "month"), ("rows", "rows"), ("size", "bytes")];
        text = format!("{}\n", shape::table(months, &columns));
    }
    let mut facts = Map::new();
    for (name, value) in answer.as_object().into_iter().flatten() {
        match value {
            Value::Array(_) => {}
            Value::Object(spread) => {
                let parts = spread.iter().map(|(part, value)| (format!("{name} {part}"), value));
                facts.extend(parts.map(|(name, value)| (name, value.clone())));
            }
            fact => drop(facts.insert(name.clone(), fact.clone())),
        }
    }
    text + &shape::facts(&facts)
}
