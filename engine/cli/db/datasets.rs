//! Owns `db datasets` and `db dataset`: rows to train on, of features or of texts, listed and moved
//! to and from files.
//!
//! Refuses to know what trains on them. Bound: [`APPEND_ROW_COUNT_MAX`] rows and
//! [`APPEND_BYTES_MAX`] are appended at once.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::{Value, json};
use truststram_exchange::{DatasetRow, Format, ReadOptions, Row, TextRow};
use truststram_store::{DatasetInfo, DatasetName, DatasetScan, TrainingRow};

use super::files::{FileFormat, NewFile, OldFile, format_of};
use super::place::{Directory, IfMissing, Local, failed};
use super::{progress, shape, time};
use crate::cli::{Failure, output};

const APPEND_ROW_COUNT_MAX: usize = 16_384;
const APPEND_BYTES_MAX: usize = 32 << 20;

#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum DatasetCommand {
    /// Write a data set to a file.
    Export {
        #[command(flatten)]
        moved: Moved,
    },
    /// Append the rows of a file to a data set, which is made if need be.
    Import {
        #[command(flatten)]
        moved: Moved,
        /// Pass over columns that training rows do not have.
        #[arg(long)]
        ignore_unknown_columns: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Moved {
    /// The data set's name.
    name: String,
    /// The file.
    file: PathBuf,
    /// Its format; the ending of its name says it otherwise.
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    #[command(flatten)]
    directory: Directory,
}

impl Moved {
    fn dataset(&self) -> Result<DatasetName, Failure> {
        let name = &self.name;
        DatasetName::new(name).map_err(|problem| {
            Failure::Usage(anyhow!("the name of the data set, `{name}`, {problem}"))
        })
    }
}

pub(super) fn list(directory: &Directory, as_json: bool) -> Result<(), Failure> {
    let found = directory.take(IfMissing::Refuse)?.with(|local| {
        let datasets = local.store.datasets().map_err(failed)?;
        Ok(datasets.iter().map(row).collect::<Vec<Value>>())
    })?;
    if as_json {
        return output::json(&json!({ "datasets": found }));
    }
    let columns = [
        ("name", "name"),
        ("rows", "rows"),
        ("features", "feature_count"),
        ("of texts", "is_of_texts"),
        ("labels", "label_count"),
        ("unlabelled", "unlabelled"),
        ("stored", "stored_bytes"),
        ("oldest", "oldest"),
        ("newest", "newest"),
    ];
    output::text(&shape::table(&found, &columns))
}

fn row(dataset: &DatasetInfo) -> Value {
    json!({
        "name": dataset.name.as_str(),
        "rows": dataset.rows,
        "feature_count": dataset.feature_count,
        "is_of_texts": dataset.is_of_texts,
        "raw_bytes": dataset.raw_bytes,
        "stored_bytes": dataset.stored_bytes,
        "oldest": dataset.oldest_us.map(time::format),
        "newest": dataset.newest_us.map(time::format),
        "labels": dataset.labels,
        "label_count": dataset.labels.len(),
        "other_labels": dataset.other_labels,
        "unlabelled": dataset.unlabelled,
    })
}

pub(super) fn run(command: &DatasetCommand, as_json: bool) -> Result<(), Failure> {
    let (moved, rows, verb) = match command {
        DatasetCommand::Export { moved } => (moved, export(moved)?, "written to"),
        DatasetCommand::Import { moved, ignore_unknown_columns } => {
            (moved, import(moved, *ignore_unknown_columns)?, "appended from")
        }
    };
    if as_json {
        let (name, file) = (&moved.name, &moved.file);
        return output::json(&json!({ "dataset": name, "path": file, "rows": rows }));
    }
    let (rows, file) = (indicatif::HumanCount(rows), moved.file.display());
    output::text(&format!("data set {}: {rows} rows {verb} {file}\n", moved.name))
}

fn export(moved: &Moved) -> Result<u64, Failure> {
    let name = moved.dataset()?;
    let format = format_of(&moved.file, moved.format)?;
    moved.directory.take(IfMissing::Refuse)?.with(|local| {
        let scan = local.store.scan_training(&name, 0, None).map_err(failed)?;
        match scan.is_of_texts() {
            true => write_rows::<TextRow>(scan, &moved.file, format),
            false => write_rows::<DatasetRow>(scan, &moved.file, format),
        }
    })
}

fn write_rows<R: Example>(scan: DatasetScan, path: &Path, format: Format) -> Result<u64, Failure> {
    let bar = progress::rows("exporting", scan.row_count());
    let filled = NewFile::create(path)?.fill::<R>(format, |writer| {
        for row in scan {
            writer.write(&R::outward(row.map_err(failed)?))?;
            bar.inc(1);
        }
        Ok(())
    });
    bar.finish_and_clear();
    filled.map(|(rows, _)| rows)
}

fn import(moved: &Moved, ignore_unknown_columns: bool) -> Result<u64, Failure> {
    let name = moved.dataset()?;
    let file = OldFile {
        path: &moved.file,
        format: format_of(&moved.file, moved.format)?,
        options: ReadOptions { ignore_unknown_columns },
    };
    match file.has_texts()? {
        true => read_rows::<TextRow>(&file, &name, &moved.directory),
        false => read_rows::<DatasetRow>(&file, &name, &moved.directory),
    }
}

fn read_rows<R: Example>(
    file: &OldFile<'_>,
    name: &DatasetName,
    directory: &Directory,
) -> Result<u64, Failure> {
    let mut feature_count = None;
    let rows_total = file.check::<R>(|row| one_width(&mut feature_count, row.feature_count()))?;
    directory.take(IfMissing::Create)?.with(|local| {
        let bar = progress::rows("importing", rows_total);
        let (mut rows, mut bytes, mut appended) = (Vec::new(), 0, 0);
        for row in file.rows::<R>()? {
            let row = row?.inward(local.clock.utc_us());
            bytes += size_of::<TrainingRow>() + row.input_bytes() + row.metadata_json.len();
            rows.push(row);
            if rows.len() == APPEND_ROW_COUNT_MAX || bytes >= APPEND_BYTES_MAX {
                appended += append(local, name, &mut rows, appended)?;
                bytes = 0;
                bar.set_position(appended);
            }
        }
        appended += append(local, name, &mut rows, appended)?;
        bar.finish_and_clear();
        Ok(appended)
    })
}

/// Every row of a data set has as many features as the first.
fn one_width(feature_count: &mut Option<usize>, found: usize) -> Result<(), Failure> {
    let expected = *feature_count.get_or_insert(found);
    if found == expected {
        return Ok(());
    }
    Err(Failure::Failed(anyhow!(
        "a row has {found} features where the first has {expected}; nothing was imported"
    )))
}

fn append(
    local: &Local,
    name: &DatasetName,
    rows: &mut Vec<TrainingRow>,
    before: u64,
) -> Result<u64, Failure> {
    if rows.is_empty() {
        return Ok(0);
    }
    local.store.append_training(name, rows).map_err(|error| {
        failed(error).context(format!("the first {before} rows of the file were appended"))
    })?;
    let count = rows.len() as u64;
    rows.clear();
    Ok(count)
}

/// A row of a file that is a row of a data set.
trait Example: Row {
    fn feature_count(&self) -> usize;
    fn outward(row: TrainingRow) -> Self;
    /// Without an id: appending counts on from the rows that are there.
    fn inward(self, created_us: i64) -> TrainingRow;
}

impl Example for DatasetRow {
    fn feature_count(&self) -> usize {
        self.features.len()
    }

    fn outward(row: TrainingRow) -> Self {
        let metadata = outward_metadata(row.metadata_json);
        Self { id: Some(row.id), features: row.features, label: row.label, metadata }
    }

    fn inward(self, created_us: i64) -> TrainingRow {
        let Self { features, label, metadata, .. } = self;
        let metadata_json = inward_metadata(metadata);
        TrainingRow { created_us, features, label, metadata_json, ..TrainingRow::default() }
    }
}

impl Example for TextRow {
    fn feature_count(&self) -> usize {
        0
    }

    fn outward(row: TrainingRow) -> Self {
        let metadata = outward_metadata(row.metadata_json);
        let text = row.text.unwrap_or_default();
        Self { id: Some(row.id), text, label: row.label, metadata }
    }

    fn inward(self, created_us: i64) -> TrainingRow {
        let Self { text, label, metadata, .. } = self;
        let (text, metadata_json) = (Some(text), inward_metadata(metadata));
        TrainingRow { created_us, text, label, metadata_json, ..TrainingRow::default() }
    }
}

fn outward_metadata(json: String) -> Option<String> {
    (json != "{}").then_some(json)
}

fn inward_metadata(metadata: Option<String>) -> String {
    metadata.unwrap_or_else(|| "{}".to_owned())
}
