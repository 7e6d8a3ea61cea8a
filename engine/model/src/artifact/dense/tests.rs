//! The program of a dense network against its definition.

use std::sync::Arc;

use super::graph_of_dense;
use crate::error::ModelError;
use crate::file::ModelFile;
use crate::kernels::Alone;
use crate::program::{BuildOptions, Program, Session};
use crate::spec::Preprocessing;
use crate::tensor::Shape;
use crate::testing::small_model;

fn session() -> Session {
    let graph = graph_of_dense(small_model(0.0));
    Session::new(Arc::new(Program::build(&graph, &BuildOptions::default()).unwrap()))
}

/// The probabilities of rows of `columns` values.
fn forward(
    session: &mut Session,
    rows: &[Vec<f32>],
    columns: usize,
) -> Result<Vec<f32>, ModelError> {
    let shape = Shape::new(&[rows.len(), columns]).unwrap();
    session.input_mut(0).reset_as::<f32>(shape).copy_from_slice(&rows.concat());
    session.run(&Alone, None)?;
    Ok(session.output(0).unwrap().values::<f32>().unwrap().to_vec())
}

/// The definition, in double precision.
fn reference(file: &ModelFile, row: &[f32]) -> Vec<f64> {
    let Preprocessing { mean, scale } = &file.spec().preprocessing;
    let mut values: Vec<f64> = row
        .iter()
        .zip(mean.iter().zip(scale))
        .map(|(x, (mean, scale))| f64::from(x - mean) * f64::from(*scale))
        .collect();
    for (index, layer) in file.layers().iter().enumerate() {
        let rows = layer.weight.chunks_exact(values.len()).zip(&layer.bias);
        values = rows
            .map(|(weights, bias)| {
                let pairs = weights.iter().zip(&values);
                let sum: f64 = pairs.map(|(w, x)| f64::from(*w) * x).sum();
                let sum = sum + f64::from(*bias);
                if index + 1 < file.layers().len() { sum.max(0.0) } else { sum }
            })
            .collect();
    }
    let sum: f64 = values.iter().map(|value| value.exp()).sum();
    values.iter().map(|value| value.exp() / sum).collect()
}

fn rows(count: usize) -> Vec<Vec<f32>> {
    (0..count).map(|row| vec![row as f32 * 0.3 - 2.0, 1.0 - row as f32 * 0.17]).collect()
}

#[test]
fn every_batch_size_gives_what_the_definition_gives() {
    let file = small_model(0.0);
    let mut session = session();
    for count in [0, 1, 2, 3, 8, 32, 33] {
        let rows = rows(count);
        let out = forward(&mut session, &rows, 2).unwrap();
        assert_eq!(out.len(), count * 3);
        for (row, answer) in rows.iter().zip(out.chunks_exact(3)) {
            for (found, expected) in answer.iter().zip(reference(&file, row)) {
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{answer:?}");
            }
        }
    }
}

#[test]
fn a_row_that_overflows_spoils_no_other() {
    let mut session = session();
    let alone = forward(&mut session, &[vec![1.0, 2.0]], 2).unwrap();
    for hostile in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::MAX, f32::MAX]] {
        let rows = [hostile.to_vec(), vec![1.0, 2.0]];
        let together = forward(&mut session, &rows, 2).unwrap();
        assert!(!together[..3].iter().all(|value| value.is_finite()), "{together:?}");
        assert!(together[3..].iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let wide = forward(&mut session(), &[vec![0.0; 3]], 3);
    assert!(matches!(wide, Err(ModelError::Run { .. })), "{wide:?}");
}
