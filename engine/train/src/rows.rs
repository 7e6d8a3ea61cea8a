//! Owns the reading of data sets from files: CSV, JSON Lines and Parquet.
//!
//! ```text
//! 5.1,3.5,1.4,0.2,setosa     CSV of features, the target last, with or without a header
//! ```
//!
//! CSV whose header names `features`, JSON Lines and Parquet are the rows of data sets as
//! `truststram db` writes them. Refuses rows without a target. Bound: [`VALUE_COUNT_MAX`] numbers.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use truststram_exchange::{DatasetRow, Format, ReadOptions, Reader};

use crate::data::Dataset;
use crate::error::TrainError;

/// Most features of all rows together, 4 GiB.
pub const VALUE_COUNT_MAX: usize = 1 << 30;

/// Reads rows with a class each, or with a number each.
///
/// # Errors
/// [`TrainError::Rows`] names the file and what is wrong in it.
pub fn read_rows(path: &Path, is_of_classes: bool) -> Result<Dataset, TrainError> {
    let wrong = |what: String| TrainError::Rows { path: path.to_owned(), what };
    let open = || {
        let action = "open";
        File::open(path).map_err(|source| TrainError::File {
            action,
            path: path.to_owned(),
            source,
        })
    };
    let format = Format::from_extension(path).map_err(|error| wrong(error.to_string()))?;
    let mut rows = Rows::default();
    if format == Format::Csv && !has_header_of_rows(open()?) {
        for (index, line) in BufReader::new(open()?).lines().enumerate() {
            let line = line.map_err(|error| wrong(error.to_string()))?;
            let at = |what: &str| wrong(format!("line {}: {what}", index + 1));
            if line.trim().is_empty() || (index == 0 && is_header(&line)) {
                continue;
            }
            let (features, target) =
                line.rsplit_once(',').ok_or_else(|| at("needs features, then the target"))?;
            for cell in features.split(',') {
                let number = cell.trim().parse::<f32>().ok().filter(|number| number.is_finite());
                rows.features.push(number.ok_or_else(|| at("a feature is not a number"))?);
            }
            rows.end(target.trim()).map_err(at)?;
        }
    } else {
        let options = ReadOptions { ignore_unknown_columns: true };
        let reader = Reader::<DatasetRow>::open(format, open()?, options);
        for (index, row) in reader.map_err(|error| wrong(error.to_string()))?.enumerate() {
            let row = row.map_err(|error| wrong(error.to_string()))?;
            rows.features.extend_from_slice(&row.features);
            let target = row.label.as_deref().unwrap_or_default();
            rows.end(target).map_err(|what| wrong(format!("row {}: {what}", index + 1)))?;
        }
    }
    rows.data(is_of_classes).map_err(wrong)
}

/// Whether a CSV file has the columns of data sets.
fn has_header_of_rows(file: File) -> bool {
    let mut line = String::new();
    let read = BufReader::new(file).read_line(&mut line);
    read.is_ok() && line.trim().split(',').any(|name| name.trim_matches('"') == "features")
}

/// Whether no cell but perhaps the last is a number.
fn is_header(line: &str) -> bool {
    let cells: Vec<&str> = line.split(',').collect();
    cells[..cells.len() - 1].iter().all(|cell| cell.trim().parse::<f32>().is_err())
}

#[derive(Default)]
struct Rows {
    features: Vec<f32>,
    targets: Vec<String>,
    feature_count: usize,
}

impl Rows {
    fn end(&mut self, target: &str) -> Result<(), &'static str> {
        let count = self.features.len() - self.feature_count * self.targets.len();
        if self.targets.is_empty() {
            self.feature_count = count;
        }
        if count != self.feature_count || count == 0 {
            return Err("has another number of features than the rows before");
        }
        if target.is_empty() {
            return Err("has no target");
        }
        if self.features.len() > VALUE_COUNT_MAX {
            return Err("is more than can be trained on");
        }
        self.targets.push(target.to_owned());
        Ok(())
    }

    fn data(self, is_of_classes: bool) -> Result<Dataset, String> {
        let Self { features, targets, feature_count } = self;
        labelled(features, &targets, feature_count, is_of_classes)
    }
}

/// Rows with the classes or the numbers that their targets name.
pub(crate) fn labelled(
    features: Vec<f32>,
    targets: &[String],
    feature_count: usize,
    is_of_classes: bool,
) -> Result<Dataset, String> {
    let (labels, values, classes) = (Vec::new(), Vec::new(), Vec::new());
    let mut data = Dataset { features, labels, values, feature_count, classes, packed: None };
    if !is_of_classes {
        for target in targets {
            let value = target.parse().map_err(|_| format!("`{target}` is not a number"))?;
            data.values.push(value);
        }
        return Ok(data);
    }
    data.classes = in_order(targets.iter().map(String::as_str));
    let names = data.classes.iter().map(String::as_str);
    let places: HashMap<&str, u32> = names.zip(0..).collect();
    data.labels = targets.iter().map(|target| places[target.as_str()]).collect();
    Ok(data)
}

/// The names of classes, each once and in order: numbers in their own, 2 before 10.
pub(crate) fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names: BTreeSet<&str> = names.collect();
    let mut names: Vec<&str> = names.into_iter().collect();
    let number = |name: &&str| name.parse::<i64>().ok();
    if names.iter().all(|name| number(name).is_some()) {
        names.sort_by_key(number);
    }
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, is_of_classes: bool) -> Result<Dataset, TrainError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_rows(&path, is_of_classes)
    }

    #[test]
    fn rows_are_read_from_each_format_alike() {
        let csv = read("a.csv", "x,y,class\n1,2.5,10\n3,4,2\n\n5,6,10\n", true).unwrap();
        assert_eq!(csv.classes, ["2", "10"]);
        assert_eq!(csv.labels, [1, 0, 1]);
        assert_eq!(csv.features, [1.0, 2.5, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(read("a.csv", "1,2.5,10\n3,4,2\n5,6,10\n", true).unwrap(), csv);
        let lines = "{\"features\":[1,2.5],\"label\":\"10\"}\n\
                     {\"features\":[3,4],\"label\":\"2\"}\n\
                     {\"features\":[5,6],\"label\":\"10\"}\n";
        assert_eq!(read("a.jsonl", lines, true).unwrap(), csv);
        let numbers = read("a.csv", "1,2,-0.5\n3,4,7\n", false).unwrap();
        assert_eq!(numbers.values, [-0.5, 7.0]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let check = |name: &str, text: &str, is_of_classes: bool, expected: &str| {
            let error = read(name, text, is_of_classes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("a.txt", "", true, "a.txt");
        check("a.csv", "1,2,a\n1,b\n", true, "line 2: has another number of features");
        check("a.csv", "1,2,a\n1,x,b\n", true, "line 2: a feature is not a number");
        check("a.csv", "1,2,a\n1,2,\n", true, "line 2: has no target");
        check("a.csv", "1,2,a\n", false, "`a` is not a number");
        check("a.jsonl", "{\"features\":[1]}\n", true, "row 1: has no target");
    }
}
