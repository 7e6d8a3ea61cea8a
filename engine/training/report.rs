//! Owns the report of a job: what its training said of itself, kept beside its checkpoint, and what
//! its record says.
//!
//! Refuses to know HTML. Bound: one file of some hundred kilobytes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use truststram_api::ports::ModelFailure;
use truststram_base::Kind;
use truststram_exchange::time;
use truststram_machine::replace_file;
use truststram_train::Report;

use super::job::Job;

fn place(folder: &Path) -> PathBuf {
    folder.join("report.json")
}

/// Keeps what a training says of itself.
pub(super) fn keep(folder: &Path, report: &Report) -> Result<(), String> {
    let (path, bytes) = (place(folder), serde_json::to_vec(report).unwrap_or_default());
    replace_file(&path, &bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The page of a job that is done.
pub(super) fn page(folder: &Path, job: &Job) -> Result<String, ModelFailure> {
    let id = job.id;
    let failed = |kind, detail| ModelFailure { kind, detail };
    let Some(result) = job.result else {
        return Err(failed(Kind::Conflict, format!("job {id} has no report: it is not done")));
    };
    let path = place(folder);
    let bytes = fs::read(&path).map_err(|error| {
        failed(Kind::Internal, format!("cannot read {}: {error}", path.display()))
    })?;
    let mut report: Report = serde_json::from_slice(&bytes)
        .map_err(|error| failed(Kind::Corrupt, format!("{}: {error}", path.display())))?;
    let shown = job.shown();
    let at = |utc_us: i64| {
        let mut text = String::new();
        time::write(&mut text, utc_us);
        text
    };
    report.say("Model", Some(format!("{}, version {}", shown.model, result.version)));
    report.say("Data set", Some(format!("{}, its first {} rows", shown.dataset, job.rows)));
    report.say("Begun with", base(&shown.spec["base"]));
    report.say("Made", Some(at(job.created_us)));
    report.say("Begun or gone on with", job.started_us.map(at));
    report.say("Ended", job.ended_us.map(at));
    report.say("Starts", Some(job.starts.to_string()));
    Ok(report.page())
}

/// The model that the training began with, in words.
fn base(base: &Value) -> Option<String> {
    let (model, version) = (base["model"].as_str()?, &base["version"]);
    let tuned = match base["tuned"].as_str() {
        Some("head") => "its head trained",
        _ => "all of it trained",
    };
    Some(format!("{model}, version {version}, {tuned}"))
}
