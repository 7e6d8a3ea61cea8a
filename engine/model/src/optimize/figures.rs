//! Owns the measuring of one version: bytes, zeros, time per row.
//!
//! Refuses to know how it was made. Bound: [`RUN_COUNT`] runs per batch size, or fewer within
//! [`TIME_MAX`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::data::{DataSet, fill};
use super::report::Figures;
use super::weights::zero_share;
use crate::artifact::{Artifact, Signature};
use crate::error::ModelError;
use crate::kernels::Alone;
use crate::program::{BuildOptions, Program, Session};
use crate::tensor::Tensor;

/// Rows of a large batch.
pub(super) const BATCH_ROWS: usize = 32;

/// Runs whose median counts; the first one, which makes the buffers, does not.
const RUN_COUNT: usize = 31;
/// No run is begun after this time, but for the first three.
const TIME_MAX: Duration = Duration::from_millis(500);
/// Tokens of a text where there is no data.
const TOKEN_COUNT: usize = 32;

/// Builds the program of a version.
pub(super) fn program(artifact: &Artifact) -> Result<Arc<Program>, ModelError> {
    Ok(Arc::new(Program::build(&artifact.graph, &BuildOptions::default())?))
}

/// Measures a version and its program.
pub(super) fn figures(
    artifact: &Artifact,
    program: &Arc<Program>,
    data: Option<&DataSet>,
) -> Result<Figures, ModelError> {
    let time = |rows| row_us(artifact, program, data, rows);
    Ok(Figures {
        file_bytes: artifact.to_bytes()?.len() as u64,
        memory_bytes: program.memory().bytes(),
        zero_share: zero_share(&artifact.graph),
        row_us_batch_1: time(1)?,
        row_us_batch_32: time(BATCH_ROWS)?,
    })
}

/// Microseconds per row of batches of so many rows; none where no such inputs can be made.
fn row_us(
    artifact: &Artifact,
    program: &Arc<Program>,
    data: Option<&DataSet>,
    rows: usize,
) -> Result<Option<f64>, ModelError> {
    if rows > 1 && !artifact.signature.batchable {
        return Ok(None);
    }
    let inputs = match data {
        Some(data) if data.row_count() >= rows => Some(data.inputs(&artifact.signature, 0..rows)?),
        _ => stand_ins(artifact, rows),
    };
    let Some(inputs) = inputs else { return Ok(None) };
    let mut session = Session::new(Arc::clone(program));
    fill(&mut session, inputs);
    session.run(&Alone, None)?;
    let mut times = Vec::with_capacity(RUN_COUNT);
    let until = Instant::now() + TIME_MAX;
    while times.len() < RUN_COUNT && (times.len() < 3 || Instant::now() < until) {
        let start = Instant::now();
        session.run(&Alone, None)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    // To the nanosecond.
    let row_ns = times[times.len() / 2].as_nanos() as f64 / rows as f64;
    Ok(Some(row_ns.round() / 1e3))
}

/// Inputs where there are no data: rows of ones, texts of small tokens, or the file's samples.
fn stand_ins(artifact: &Artifact, rows: usize) -> Option<Vec<Tensor>> {
    let signature: &Signature = &artifact.signature;
    if let Some(tokens) = signature.tokens {
        let count = TOKEN_COUNT.min(tokens.length_max) as u32;
        let ids: Vec<u32> = (0..count).map(|index| index % tokens.vocabulary).collect();
        let text: (&[u32], &[u32]) = (&ids, &[]);
        return signature.text_inputs(&vec![text; rows]);
    }
    if let Some(count) = signature.feature_count() {
        let ones = vec![1.0; count];
        let rows: Vec<&[f32]> = vec![&ones; rows];
        return signature.feature_input(&rows).map(|input| vec![input]);
    }
    let has_rows = |sample: &Tensor| sample.shape().first() == Some(&rows);
    let samples = &artifact.samples;
    (!samples.is_empty() && samples.iter().all(has_rows)).then(|| samples.clone())
}
