//! Owns `db backup` and `db restore`.
//!
//! Refuses to write over anything. Bound: one backup.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};
use truststram_store::{BackupFormat, BackupProgress, BackupReport, StoreError, restore};

use super::place::{AdminPlace, failed};
use super::{progress, shape};
use crate::cli::{Failure, output};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BackupArguments {
    /// Where the backup goes; nothing may be there yet.
    target: PathBuf,
    /// One tar file, instead of a directory.
    #[arg(long)]
    tar: bool,
    #[command(flatten)]
    place: AdminPlace,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RestoreArguments {
    /// The backup: a directory or a tar file.
    backup: PathBuf,
    /// The data directory that is made; it must not exist or be empty.
    target: PathBuf,
}

pub(super) fn backup(arguments: &BackupArguments, as_json: bool) -> Result<(), Failure> {
    // A server has another working directory.
    let target = std::path::absolute(&arguments.target)
        .with_context(|| format!("{} is no path", arguments.target.display()))?;
    let body = json!({ "path": target, "tar": arguments.tar });
    let answer = arguments.place.work("/admin/v1/store/backup", &body, |local| {
        let format = if arguments.tar { BackupFormat::Tar } else { BackupFormat::Directory };
        reported("backing up", |on_progress| local.store.backup(&target, format, on_progress))
    })?;
    show(&answer, "backup", as_json)
}

pub(super) fn restored(arguments: &RestoreArguments, as_json: bool) -> Result<(), Failure> {
    let target: &Path = &arguments.target;
    let answer =
        reported("restoring", |on_progress| restore(&arguments.backup, target, on_progress))?;
    show(&answer, "store", as_json)
}

fn reported(
    label: &'static str,
    work: impl FnOnce(&mut dyn FnMut(&BackupProgress) -> bool) -> Result<BackupReport, StoreError>,
) -> Result<Value, Failure> {
    let bar = progress::bytes(label, 0);
    let report = work(&mut |progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
        true
    });
    bar.finish_and_clear();
    let report = report.map_err(failed)?;
    Ok(json!({
        "path": report.path,
        "files": report.files,
        "bytes": report.bytes,
        "rows": report.rows,
    }))
}

fn show(answer: &Value, what: &str, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::json(answer);
    }
    let of = |key: &str| shape::cell(key, &answer[key]);
    output::text(&format!(
        "{what} {}: {} files, {}, {} predictions\n",
        of("path"),
        of("files"),
        of("bytes"),
        of("rows")
    ))
}
