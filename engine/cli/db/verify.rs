//! Owns `db verify` and `db refresh`: whether what is stored is what was written, and whether the
//! figures are what the rows add up to.
//!
//! Refuses to repair. Bound: the findings of one store in memory.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use serde_json::{Value, json};
use truststram_base::SystemClock;
use truststram_store::{HostDisk, VerifyProgress, VerifyReport, verify_directory};

use super::place::{AdminPlace, failed, lock, must_hold_a_store, server_of};
use super::{progress, shape};
use crate::cli::client::AdminArgument;
use crate::cli::{Failure, output};
use crate::config::plan::store_options;

/// The tables of the figures, as findings name them.
const FIGURES: [&str; 3] = ["totals", "hours", "minutes"];

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct VerifyArguments {
    /// The data directory to check, for instance a backup that was restored.
    #[arg(value_name = "DIRECTORY", conflicts_with_all = ["data_dir", "admin"])]
    path: Option<PathBuf>,
    #[command(flatten)]
    place: AdminPlace,
}

pub(super) fn verify(arguments: &VerifyArguments, as_json: bool) -> Result<(), Failure> {
    let place = &arguments.place;
    if let Some(url) = &place.admin {
        return show(&by_server(&AdminArgument::at(url))?, as_json);
    }
    let raw = place.directory.raw()?;
    let path = arguments.path.clone().unwrap_or_else(|| PathBuf::from(&raw.server.data_dir));
    must_hold_a_store(&path)?;
    let lock = match lock(&path)? {
        Ok(lock) => lock,
        Err(locked) => return show(&by_server(&server_of(&raw, &locked)?)?, as_json),
    };
    let tiers = store_options(&raw.store).tiers;
    let report = watched("verifying", |on_progress| {
        let clock = Arc::new(SystemClock::new());
        verify_directory(Arc::new(HostDisk), &path, &tiers, clock, on_progress).map_err(failed)
    })?;
    drop(lock);
    show(&shape::report(&report), as_json)
}

fn by_server(server: &AdminArgument) -> Result<Value, Failure> {
    output::remark(
        "a server has the store: it checks what is in use; unused places of files are compared \
         only when it is stopped",
    );
    server.work("/admin/v1/store/verify", &json!({}))
}

pub(super) fn refresh(place: &AdminPlace, as_json: bool) -> Result<(), Failure> {
    let answer = place.work("/admin/v1/store/refresh", &json!({}), |local| {
        let report =
            watched("recounting", |on_progress| local.store.verify(on_progress).map_err(failed))?;
        Ok(shape::report(&report))
    })?;
    let is_figure =
        |finding: &&Value| finding["table"].as_str().is_some_and(|table| FIGURES.contains(&table));
    let findings: Vec<Value> = found(&answer).iter().filter(is_figure).cloned().collect();
    let rows = &answer["checked"]["rows"];
    let count = findings.len();
    if as_json {
        output::json(&json!({ "findings": findings, "rows": rows }))?;
    } else {
        let lines: String = findings.iter().map(shape::finding_line).collect();
        let verdict = if count == 0 { "every figure is" } else { "these figures are not" };
        let rows = shape::cell("rows", rows);
        output::text(&format!("{lines}{rows} rows counted: {verdict} what they add up to\n"))?;
    }
    let others = answer["other_findings"].as_u64();
    let others = others.unwrap_or((found(&answer).len() - count) as u64);
    if others > 0 {
        output::remark(&format!("{others} findings about something else: `db verify` tells them"));
    }
    if count > 0 {
        return Err(Failure::Failed(anyhow!(
            "{count} figures differ; restore their files from a backup"
        )));
    }
    Ok(())
}

/// Does a check and shows how far it is.
fn watched(
    label: &'static str,
    check: impl FnOnce(&mut dyn FnMut(&VerifyProgress) -> bool) -> Result<VerifyReport, Failure>,
) -> Result<VerifyReport, Failure> {
    let bar = progress::endless(label);
    let report = check(&mut |progress| {
        let rows = indicatif::HumanCount(progress.rows);
        bar.set_message(format!("{rows} rows, {}", indicatif::HumanBytes(progress.bytes)));
        bar.tick();
        true
    });
    bar.finish_and_clear();
    report
}

fn show(answer: &Value, as_json: bool) -> Result<(), Failure> {
    let findings = found(answer);
    if as_json {
        output::json(answer)?;
    } else {
        output::text(&shown(answer, findings))?;
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Failure::Failed(anyhow!(
            "{count} findings; restore the files that they name from a backup"
        ))),
    }
}

fn found(answer: &Value) -> &[Value] {
    answer["findings"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn shown(answer: &Value, findings: &[Value]) -> String {
    let lines: String = findings.iter().map(shape::finding_line).collect();
    let checked = &answer["checked"];
    let of = |key: &str| shape::cell(key, &checked[key]);
    let seal = if answer["is_sealed"] == true {
        format!(
            "sealed: every byte of {} files was compared",
            shape::cell("files", &answer["files"])
        )
    } else {
        "without a seal: unused places of files were not compared".to_owned()
    };
    format!(
        "{lines}{} rows of the month files checked, in {} segments of {}\n{seal}\n",
        of("rows"),
        of("segments"),
        of("bytes")
    )
}
