//! Owns `db stats`: what is kept, month by month, and what the log holds.
//!
//! Refuses to change anything. Bound: one line per month.

use serde_json::{Value, json};

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
    let bytes = ["even.log", "odd.log"]
        .map(|name| log.join(name).metadata().map_or(0, |metadata| metadata.len()));
    Ok(json!({
        "path": stats.path,
        "file_bytes": stats.file_bytes,
        "months": months,
        "log": { "rows": stats.rows_in_log, "bytes": bytes.iter().sum::<u64>() },
        "counters": {
            "rows_queued": stats.rows_queued,
            "rows_committed": stats.rows_committed,
            "rows_refused": stats.rows_refused,
            "rows_lost": stats.rows_lost,
            "rows_applied": stats.rows_applied,
            "commits": stats.commits,
            "commit_failures": stats.commit_failures,
            "apply_failures": stats.apply_failures,
            "scrubs": stats.scrubs,
            "scrub_findings": stats.scrub_findings,
        },
    }))
}

fn shown(answer: &Value) -> String {
    let months = answer["months"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = format!(
        "store {}, {} in all\n\n",
        shape::cell("path", &answer["path"]),
        shape::cell("file_bytes", &answer["file_bytes"])
    );
    text.push_str(&shape::table(
        months,
        &[("month", "month"), ("rows", "rows"), ("size", "bytes")],
    ));
    for part in ["log", "counters"] {
        if let Some(facts) = answer[part].as_object() {
            text.push_str(&format!("\n{part}\n{}", shape::facts(facts)));
        }
    }
    text
}
