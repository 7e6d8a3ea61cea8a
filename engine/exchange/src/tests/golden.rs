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
fn an_encoding_that_is_not_read_is_named() {
    let error = read::<DatasetRow>("pyarrow_refused.parquet").unwrap_err().to_string();
    let expected = "column `metadata` cannot be read: the encoding DELTA_LENGTH_BYTE_ARRAY is not \
                    read here; write the file with zstd or snappy, and with plain or dictionary \
                    encoding";
    assert_eq!(error, expected);
}
