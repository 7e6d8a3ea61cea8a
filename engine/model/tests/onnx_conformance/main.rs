//! The test cases that ONNX has for its operators, as they are and damaged.
//!
//! Owns where the cases lie. Refuses to make them: `make conformance-data` does. Bound: the cases
//! in the folder, one by one.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests by clippy")]

mod damaged;
mod right;

use std::fs;
use std::path::{Path, PathBuf};

use truststram_model::onnx;
use truststram_model::tensor::Tensor;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/onnx-conformance")
}

/// The folders of the cases, by name.
fn cases() -> Vec<PathBuf> {
    let cases = folder().join("cases");
    let Ok(entries) = fs::read_dir(&cases) else {
        panic!("no cases in {}; make them with: make conformance-data", cases.display());
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// The inputs or the outputs of a set of data.
fn tensors(set: &Path, kind: &str) -> Result<Vec<(String, Tensor)>, String> {
    let paths = (0..).map(|index| set.join(format!("{kind}_{index}.pb")));
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        onnx::tensor(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    };
    paths.take_while(|path| path.exists()).map(read).collect()
}
