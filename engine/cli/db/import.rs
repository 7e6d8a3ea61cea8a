//! Owns `db import`: predictions of a file into the store, in bulk.
//!
//! The file is read twice, so that a wrong row changes nothing. Where the store's queue is full,
//! reading waits for the disk. Refuses to know formats and whether the models are registered.
//! Bound: one batch of [`BATCH_ROW_COUNT_MAX`] rows and [`BATCH_BYTES_MAX`].

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use truststram_base::PredictionRecord;
use truststram_exchange::ReadOptions;
use truststram_store::{Store, StoreError};

use super::files::{FileFormat, OldFile, format_of};
use super::place::{Directory, IfMissing, failed};
use super::progress;
use crate::cli::{Failure, output};

const BATCH_ROW_COUNT_MAX: usize = 4_096;
const BATCH_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ImportArguments {
    /// The file to read.
    file: PathBuf,
    /// Its format; the ending of its name says it otherwise.
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// Pass over columns that predictions do not have.
    #[arg(long)]
    ignore_unknown_columns: bool,
    #[command(flatten)]
    directory: Directory,
}

pub(super) fn run(arguments: &ImportArguments, as_json: bool) -> Result<(), Failure> {
    let file = OldFile {
        path: &arguments.file,
        format: format_of(&arguments.file, arguments.format)?,
        options: ReadOptions { ignore_unknown_columns: arguments.ignore_unknown_columns },
    };
    let rows_total = file.check::<PredictionRecord>(|_| Ok(()))?;
    let queue_rows_max = arguments.directory.raw()?.store.queue_rows_max;
    let (rows, seconds) = arguments.directory.take(IfMissing::Create)?.with(|local| {
        let begun = Instant::now();
        let bar = progress::rows("importing", rows_total);
        let mut batch = Batch {
            store: &local.store,
            rows: Vec::new(),
            bytes: 0,
            rows_max: BATCH_ROW_COUNT_MAX.min(queue_rows_max.max(1)),
            submitted: 0,
        };
        for row in file.rows::<PredictionRecord>()? {
            batch.add(row?)?;
            bar.set_position(batch.submitted);
        }
        batch.submit()?;
        local.store.flush().map_err(failed)?;
        bar.finish_and_clear();
        Ok((batch.submitted, begun.elapsed().as_secs_f64()))
    })?;
    let rate = (rows as f64 / seconds.max(1e-6)).round();
    if as_json {
        return output::json(&json!({ "rows": rows, "seconds": seconds, "rows_per_s": rate }));
    }
    let (rows, rate) = (indicatif::HumanCount(rows), indicatif::HumanFloatCount(rate));
    output::text(&format!("{rows} predictions in {seconds:.2} s, on the disk: {rate} rows/s\n"))
}

/// Rows that are submitted together.
struct Batch<'a> {
    store: &'a Store,
    rows: Vec<PredictionRecord>,
    bytes: usize,
    rows_max: usize,
    submitted: u64,
}

impl Batch<'_> {
    fn add(&mut self, row: PredictionRecord) -> Result<(), Failure> {
        self.bytes += size_of::<PredictionRecord>() + size_of_val(row.features.as_slice());
        self.rows.push(row);
        if self.rows.len() < self.rows_max && self.bytes < BATCH_BYTES_MAX {
            return Ok(());
        }
        self.submit()
    }

    fn submit(&mut self) -> Result<(), Failure> {
        let count = self.rows.len() as u64;
        let refused = match self.store.submit_many(&mut self.rows) {
            Err(StoreError::QueueFull { .. }) => {
                // Nobody else submits: when all before is on the disk, the queue is empty.
                self.store.flush().map_err(failed)?;
                self.store.submit_many(&mut self.rows)
            }
            other => other,
        };
        refused.map_err(failed)?;
        self.submitted += count;
        self.bytes = 0;
        Ok(())
    }
}
