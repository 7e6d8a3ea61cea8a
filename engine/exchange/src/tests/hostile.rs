//! A file may be damaged on its way, or made to do harm. Whatever its bytes are, reading it ends,
//! in rows or in an error that says where; it neither panics nor runs away.
//!
//! Owns the damage: seeded changes of good files of every format and encoding. Bound: a seeded
//! share of changes; `TRUSTSTRAM_SOAK` does many more.

use truststram_base::PredictionRecord;

use super::{Random, file, golden, problem, read, written};
use crate::{DatasetRow, ExchangeError, Format, ROW_BYTES_MAX, ReadOptions, Reader, Row};

/// A few bytes can rightly say that there are billions of equal rows.
const ROW_COUNT_MAX: usize = 5000;

fn change_count() -> usize {
    if std::env::var_os("TRUSTSTRAM_SOAK").is_some() { 100_000 } else { 1500 }
}

/// Reads what there is to read, and says whether it ended in an error of the file.
fn survey<R: Row>(format: Format, bytes: &[u8]) -> bool {
    let options = ReadOptions { ignore_unknown_columns: true };
    let reader = match Reader::<R>::open(format, file(bytes), options) {
        Ok(reader) => reader,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return true;
        }
    };
    let mut errors = reader.take(ROW_COUNT_MAX).filter_map(Result::err);
    errors.any(|error: ExchangeError| {
        assert!(!error.to_string().is_empty());
        !error.is_about_one_row()
    })
}

/// Changes one to four bytes or bits, or repeats or removes a stretch.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            1 => bytes[at] = random.next() as u8,
            2 => drop(bytes.drain(at..(at + 1 + random.below(8)).min(bytes.len()))),
            3 => {
                let stretch: Vec<u8> = bytes[at..].iter().take(8).copied().collect();
                bytes.splice(at..at, stretch);
            }
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
}

fn check<R: Row>(seed: u64, format: Format, good: &[u8]) {
    assert!(!survey::<R>(format, good));
    let mut random = Random(seed);
    let mut refused = 0;
    for _ in 0..change_count() {
        let mut bytes = good.to_vec();
        damage(&mut random, &mut bytes);
        refused += usize::from(survey::<R>(format, &bytes));
    }
    // Otherwise the damage does not reach what it is meant for.
    assert!(format != Format::Parquet || refused > change_count() / 8, "{refused} refused");
}

fn predictions() -> Vec<PredictionRecord> {
    let path = golden::path("duckdb.parquet");
    read(Format::Parquet, &std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn damaged_files_of_ours_end_in_errors() {
    let rows = predictions();
    for (format, seed) in Format::ALL.into_iter().zip(1..) {
        check::<PredictionRecord>(seed, format, &written(format, &rows[..12]));
    }
}

#[test]
fn damaged_files_of_others_end_in_errors() {
    let names = ["pyarrow_large.parquet", "pyarrow_views.parquet", "duckdb.parquet"];
    for (name, seed) in names.iter().zip(11..) {
        check::<PredictionRecord>(
            seed,
            Format::Parquet,
            &std::fs::read(golden::path(name)).unwrap(),
        );
    }
    let bytes = std::fs::read(golden::path("pyarrow_dataset.parquet")).unwrap();
    check::<DatasetRow>(21, Format::Parquet, &bytes);
}

#[test]
fn a_file_that_is_cut_off_is_an_error() {
    let bytes = written(Format::Parquet, &predictions());
    for length in 0..bytes.len() {
        assert!(survey::<PredictionRecord>(Format::Parquet, &bytes[..length]), "{length}");
    }
    let text = written(Format::Csv, &predictions());
    let lines = written(Format::JsonLines, &predictions());
    for length in 0..2000 {
        survey::<PredictionRecord>(Format::Csv, &text[..length]);
        survey::<PredictionRecord>(Format::JsonLines, &lines[..length]);
    }
}

/// A quote that never closes, and a line that never ends.
#[test]
fn an_endless_row_is_refused() {
    let length = usize::try_from(ROW_BYTES_MAX).unwrap() * 2;
    let tail = "x".repeat(length);
    let expected =
        " is longer than 4194304 bytes; is a quote or the end of a line missing?".to_owned();
    let csv = format!("id,features\n1,[]\n2,\"[{tail}");
    let found = problem::<DatasetRow>(Format::Csv, csv.as_bytes());
    assert_eq!(found, format!("row 2 (line 3){expected}"));
    let lines = format!("{{\"features\":[]}}\n{tail}");
    let found = problem::<DatasetRow>(Format::JsonLines, lines.as_bytes());
    assert_eq!(found, format!("row 2 (line 2){expected}"));
    let found = problem::<DatasetRow>(Format::Csv, tail.as_bytes());
    assert_eq!(found, format!("the header{expected}"));
}

/// A number of features that no model has, in few bytes.
#[test]
fn too_many_features_are_refused() {
    let list = format!("[{}0]", "0,".repeat(65_536));
    let expected = "column `features` has more than 65536 numbers; split or reduce them";
    let csv = format!("features\n\"{list}\"\n");
    let found = problem::<DatasetRow>(Format::Csv, csv.as_bytes());
    assert_eq!(found, format!("row 1 (line 2), {expected}"));
    let lines = format!("{{\"features\":{list}}}\n");
    let found = problem::<DatasetRow>(Format::JsonLines, lines.as_bytes());
    assert_eq!(found, format!("row 1 (line 1), {expected}"));
}
