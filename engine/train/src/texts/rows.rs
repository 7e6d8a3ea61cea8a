//! Owns the reading of texts with a class or a number each, from CSV, JSON Lines and Parquet.
//!
//! ```text
//! text,label                         CSV with a header that names both columns
//! {"text": "...", "label": "..."}    JSON Lines
//! text, label                        Parquet, as `truststram db` writes data sets of texts
//! ```
//!
//! Refuses rows without a label. Bound: [`ROW_COUNT_MAX`] rows, texts as long as a tokenizer takes.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use truststram_exchange::{Format, ReadOptions, Reader, TextRow};
use truststram_model::encoder::TEXT_BYTES_MAX;

use crate::error::TrainError;

/// Most texts.
const ROW_COUNT_MAX: usize = 1 << 26;

/// Texts and what each is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextRows {
    /// The texts.
    pub texts: Vec<String>,
    /// The class of each, or its number as text.
    pub labels: Vec<String>,
}

#[derive(Deserialize)]
struct Row {
    text: String,
    label: Label,
}

/// Labels that are numbers may be written as such.
#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Text(String),
    Number(serde_json::Number),
}

/// Reads texts from a file that ends in `.csv`, `.jsonl`, `.ndjson` or `.parquet`.
///
/// # Errors
/// [`TrainError::Rows`] names the file and what is wrong in it.
pub fn read_texts(path: &Path) -> Result<TextRows, TrainError> {
    let wrong = |what: String| TrainError::Rows { path: path.to_owned(), what };
    let file = File::open(path).map_err(|source| TrainError::File {
        action: "open",
        path: path.to_owned(),
        source,
    })?;
    let mut rows = TextRows::default();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => {
            let mut reader = csv::Reader::from_reader(file);
            let header = reader.headers().map_err(|error| wrong(error.to_string()))?.clone();
            let place = |name: &str| {
                let found = header.iter().position(|column| column.trim() == name);
                found.ok_or_else(|| wrong(format!("has no column `{name}` in its first line")))
            };
            let (text, label) = (place("text")?, place("label")?);
            for (index, row) in reader.records().enumerate() {
                let row = row.map_err(|error| wrong(error.to_string()))?;
                let cell = |at| row.get(at).unwrap_or_default().to_owned();
                rows.push(cell(text), cell(label).trim().to_owned())
                    .map_err(|what| wrong(format!("row {}: {what}", index + 1)))?;
            }
        }
        Some("jsonl" | "ndjson") => {
            for (index, line) in BufReader::new(file).lines().enumerate() {
                let at =
                    |what: &dyn std::fmt::Display| wrong(format!("line {}: {what}", index + 1));
                let line = line.map_err(|error| at(&error))?;
                if line.trim().is_empty() {
                    continue;
                }
                let row: Row = serde_json::from_str(&line).map_err(|error| at(&error))?;
                let label = match row.label {
                    Label::Text(text) => text,
                    Label::Number(number) => number.to_string(),
                };
                rows.push(row.text, label).map_err(|what| at(&what))?;
            }
        }
        Some("parquet") => {
            let options = ReadOptions { ignore_unknown_columns: true };
            let reader = Reader::<TextRow>::open(Format::Parquet, file, options);
            for (index, row) in reader.map_err(|error| wrong(error.to_string()))?.enumerate() {
                let row = row.map_err(|error| wrong(error.to_string()))?;
                rows.push(row.text, row.label.unwrap_or_default())
                    .map_err(|what| wrong(format!("row {}: {what}", index + 1)))?;
            }
        }
        _ => return Err(wrong("ends in none of .csv, .jsonl, .ndjson and .parquet".to_owned())),
    }
    Ok(rows)
}

impl TextRows {
    fn push(&mut self, text: String, label: String) -> Result<(), &'static str> {
        if label.is_empty() {
            return Err("has no label");
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err("has a text above 1 MiB");
        }
        if self.texts.len() == ROW_COUNT_MAX {
            return Err("is more than can be trained on");
        }
        self.texts.push(text);
        self.labels.push(label);
        Ok(())
    }
}
