//! Owns the proof that files of other libraries are read: `tests/golden/exchange`, made by the
//! `make.py` beside them.
//!
//! Refuses to know how the files are encoded. Bound: the rows of that script.

use std::fs::File;
use std::path::PathBuf;

use truststram_base::{ModelId, ModelVersion, PredictionRecord, RequestId, UserId};

use crate::{DatasetRow, ExchangeError, Format, ReadOptions, Reader, Row};

const ROW_COUNT: u32 = 40;
/// 2026-11-23T14:00:00Z.
const START_US: i64 = 1_795_442_400_000_000;

pub(super) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/exchange").join(name)
}

fn read<R: Row>(name: &str) -> Result<Vec<R>, ExchangeError> {
    let file = File::open(path(name)).unwrap();
    Reader::open(Format::Parquet, file, ReadOptions::default())?.collect()
}

fn expected(row: u32) -> PredictionRecord {
    let user = format!("user {}", row % 5);
    PredictionRecord {
        request: RequestId(u128::from(row)),
        model: ModelId::new(&format!("model-{}", row % 3)).unwrap(),
        version: ModelVersion(1 + row % 2),
        user: (!row.is_multiple_of(4)).then(|| UserId::new(&user).unwrap()),
        timestamp_us: START_US + i64::from(row) * 1_001_000,
        features: (0..row % 6).map(|step| row as f32 + step as f32 / 8.0).collect(),
        class: row % 10,
        confidence: row as f32 / 64.0,
    }
}

#[test]
fn predictions_of_other_libraries_are_read() {
    for name in ["pyarrow_large.parquet", "pyarrow_views.parquet", "duckdb.parquet"] {
        let rows: Vec<PredictionRecord> = read(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let expected: Vec<_> = (0..ROW_COUNT).map(expected).collect();
        assert_eq!(rows, expected, "{name}");
    }
}

#[test]
fn a_file_of_a_notebook_is_read_without_ids_of_requests() {
    let mut rows: Vec<PredictionRecord> = read("pandas.parquet").unwrap();
    let mut ids: Vec<u128> = rows.iter().map(|row| row.request.0).collect();
    for (row, index) in rows.iter_mut().zip(0..) {
        row.request = RequestId(index);
    }
    assert_eq!(rows, (0..ROW_COUNT).map(expected).collect::<Vec<_>>());
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rows.len());
}

#[test]
fn a_data_set_of_another_library_is_read() {
    let rows: Vec<DatasetRow> = read("pyarrow_dataset.parquet").unwrap();
    let expected = (0..ROW_COUNT).map(|row| DatasetRow {
        id: None,
        features: vec![row as f32, row as f32 / 2.0],
        label: Some((row % 10).to_string()),
        metadata: Some(format!("{{\"row\": {row}}}")),
    });
    assert_eq!(rows, expected.collect::<Vec<_>>());
}

#[test]
fn a_file_of_other_rows_is_refused_by_name() {
    let error = read::<DatasetRow>("duckdb.parquet").unwrap_err().to_string();
    let expected = "the header: unknown column `request_id`; the columns are `id`, `features`, \
                    `label`, `metadata`. Rename or remove it, or have unknown columns ignored";
    assert_eq!(error, expected);
    let error = read::<PredictionRecord>("pyarrow_dataset.parquet").unwrap_err().to_string();
    assert!(error.starts_with("the header: unknown column `label`"), "{error}");
}

#[test]
fn encodings_and_compressions_that_are_not_read_are_named() {
    let check = |name: &str, expected: &str| {
        let error = read::<DatasetRow>(name).unwrap_err().to_string();
        let advice = "write the file with zstd or snappy, and with plain or dictionary encoding";
        assert_eq!(error, format!("column {expected}; {advice}"));
    };
    let encoding = "cannot be read: the encoding DELTA_LENGTH_BYTE_ARRAY is not read here";
    check("pyarrow_refused.parquet", &format!("`metadata` {encoding}"));
    check("pyarrow_gzip.parquet", "`id` cannot be read: it is compressed with GZIP");
}

/// Wide numbers are taken where nothing is lost, and a bad row does not hide those behind it.
#[test]
fn values_that_would_lose_something_are_refused() {
    let file = File::open(path("pyarrow_inexact.parquet")).unwrap();
    let reader = Reader::<DatasetRow>::open(Format::Parquet, file, ReadOptions::default()).unwrap();
    let found: Vec<String> = reader
        .map(|row| row.map_or_else(|error| error.to_string(), |row| format!("{:?}", row.id)))
        .collect();
    let whole = "it must be a whole number from 0 to 18446744073709551615";
    let exact = "it must be a number that 32 bits hold exactly; cast the column to 32 bits";
    let expected = [
        "Some(1)".to_owned(),
        format!("row 2, column `id` is `2.5`; {whole}"),
        format!("row 3, column `features` has `0.1` as element 1 (from 0); {exact}"),
        format!("row 4, column `id` is `-1.0`; {whole}"),
        "row 5, column `features` has null as element 1 (from 0); it must be a number".to_owned(),
        "row 6, column `features` has no value; every row must have one".to_owned(),
    ];
    assert_eq!(found, expected);
}
