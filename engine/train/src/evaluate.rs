//! Owns the test of a model on rows that it was not trained on, as it will be served.
//!
//! Refuses to know how it was trained. Bound: [`EVALUATION_ROWS`] rows a time on each core.

use std::sync::Arc;

use rayon::prelude::*;
use truststram_machine::compute_pool;
use truststram_model::kernels::Alone;
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::Tensor;

use crate::data::Dataset;
use crate::error::TrainError;
use crate::export::Exported;
use crate::texts;

/// Rows that one evaluation task takes.
const EVALUATION_ROWS: usize = 64;

/// What a model does with rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Of a classifier the share that it gets right.
    pub accuracy: Option<f64>,
    /// Rows by true class, then by predicted class; empty of a model that gives numbers.
    pub confusion: Vec<Vec<u32>>,
    /// Of numbers the mean square of the differences.
    pub mean_square: Option<f64>,
}

/// Asks the model several rows at a time, one pinned thread per core.
pub(crate) fn evaluate(
    model: &Exported,
    data: &Dataset,
    cores: &[u32],
) -> Result<Evaluation, TrainError> {
    let pool = compute_pool("evaluate", if cores.is_empty() { &[0] } else { cores })?;
    let artifact = model.artifact();
    let is_of_texts = artifact.signature.tokens.is_some();
    let program = Program::build(&artifact.graph, &BuildOptions::default())?;
    let program = Arc::new(program);
    let start = || (Session::new(Arc::clone(&program)), data.reader());
    let parts: Result<Vec<Vec<f32>>, TrainError> = pool.install(|| {
        (0..data.rows().div_ceil(EVALUATION_ROWS))
            .into_par_iter()
            .map_init(start, |(session, reader), part| {
                let first = part * EVALUATION_ROWS;
                let rows = first..data.rows().min(first + EVALUATION_ROWS);
                let mut values = Vec::new();
                reader.read(rows.clone(), &mut values)?;
                if is_of_texts {
                    let rows: Vec<&[f32]> = values.chunks(data.feature_count).collect();
                    texts::give(session, &rows);
                } else {
                    let dims = [rows.len(), values.len() / rows.len()];
                    // The run refuses what does not fit.
                    *session.input_mut(0) = Tensor::of(&dims, values).unwrap_or_default();
                }
                session.run(&Alone, None)?;
                let answers = session.output(0).and_then(|output| output.values::<f32>());
                Ok(answers.unwrap_or_default().to_vec())
            })
            .collect()
    });
    let answers: Vec<f32> = parts?.concat();
    if data.labels.is_empty() {
        let pairs = answers.iter().zip(&data.values);
        let squares: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let mean_square = Some(squares / data.rows().max(1) as f64);
        return Ok(Evaluation { mean_square, ..Evaluation::default() });
    }
    let classes = data.classes.len();
    let mut confusion = vec![vec![0; classes]; classes];
    for (label, answer) in data.labels.iter().zip(answers.chunks_exact(classes)) {
        confusion[*label as usize][most_probable(answer)] += 1;
    }
    let right: u32 = confusion.iter().enumerate().map(|(class, row)| row[class]).sum();
    let accuracy = Some(f64::from(right) / data.rows() as f64);
    Ok(Evaluation { accuracy, confusion, mean_square: None })
}

fn most_probable(row: &[f32]) -> usize {
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(index, _)| index)
}
