//! Owns `db export`: kept predictions as a file, the oldest first, so that importing it keeps their
//! order.
//!
//! The store gives pages from the newest on, so it is walked twice: once for the place of each
//! page, then page by page from the last. Refuses to know formats. Bound: one page of rows, and
//! some bytes for each page.

use std::path::PathBuf;

use serde_json::json;
use truststram_base::PredictionRecord;
use truststram_base::limits::PAGE_ROW_COUNT_MAX;
use truststram_store::{Cursor, PredictionQuery};

use super::files::{FileFormat, NewFile, format_of};
use super::place::{Directory, IfMissing, Local, failed};
use super::query::{Span, model_id, user_id};
use super::{progress, shape};
use crate::cli::{Failure, output};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ExportArguments {
    /// The file to write; nothing may be there yet.
    file: PathBuf,
    /// Its format; the ending of its name says it otherwise.
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// Only this model's.
    #[arg(long)]
    model: Option<String>,
    /// Only this user's.
    #[arg(long)]
    user: Option<String>,
    /// Made at or after this time: 7d, 24h or 90m before now, or RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Made at or before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    directory: Directory,
}

pub(super) fn run(arguments: &ExportArguments, as_json: bool) -> Result<(), Failure> {
    let format = format_of(&arguments.file, arguments.format)?;
    let span = Span::read(arguments.since.as_ref(), arguments.until.as_ref())?;
    let query = PredictionQuery {
        model: arguments.model.as_deref().map(model_id).transpose()?,
        user: arguments.user.as_deref().map(user_id).transpose()?,
        since_us: span.since_us,
        until_us: span.until_us,
        limit: PAGE_ROW_COUNT_MAX,
        before: None,
    };
    let (rows, bytes) = arguments.directory.take(IfMissing::Refuse)?.with(|local| {
        let file = NewFile::create(&arguments.file)?;
        let (pages, rows) = pages(local, &query)?;
        let bar = progress::rows("exporting", rows);
        let written = file.fill::<PredictionRecord>(format, |writer| {
            for before in pages.iter().rev() {
                let asked = PredictionQuery { before: *before, ..query.clone() };
                let page = local.store.predictions(&asked).map_err(failed)?;
                for stored in page.rows.iter().rev() {
                    writer.write(&stored.record)?;
                }
                bar.inc(page.rows.len() as u64);
            }
            Ok(())
        });
        bar.finish_and_clear();
        written
    })?;
    if as_json {
        return output::json(&json!({ "path": arguments.file, "rows": rows, "bytes": bytes }));
    }
    let (rows, bytes) = (json!(rows), json!(bytes));
    output::text(&format!(
        "{}: {} predictions, {}\n",
        arguments.file.display(),
        shape::cell("rows", &rows),
        shape::cell("bytes", &bytes)
    ))
}

/// Where each page begins, the newest first, and how many rows there are in all.
fn pages(local: &Local, query: &PredictionQuery) -> Result<(Vec<Option<Cursor>>, u64), Failure> {
    let bar = progress::endless("counting");
    let (mut places, mut rows) = (vec![None], 0);
    loop {
        let before = places.last().copied().flatten();
        let asked = PredictionQuery { before, ..query.clone() };
        let page = local.store.predictions(&asked).map_err(failed)?;
        rows += page.rows.len() as u64;
        bar.set_message(format!("{} rows", indicatif::HumanCount(rows)));
        bar.tick();
        let Some(next) = page.next else { break };
        places.push(Some(next));
    }
    bar.finish_and_clear();
    Ok((places, rows))
}
