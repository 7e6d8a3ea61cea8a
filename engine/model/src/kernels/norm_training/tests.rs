//! Normalisation against the one without a way back, and gradients against differences in f64.

use super::*;
use crate::kernels::layer_norm_rows;
use crate::kernels::tests::{numbers, same_on_all};

const COLUMNS: usize = 21;
const ROWS: usize = 5;
const EPSILON: f32 = 1e-5;

fn plain(x: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
    let row = |x: &[f64]| -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (variance + f64::from(EPSILON)).sqrt();
        let weights = gamma.iter().zip(beta);
        x.iter().zip(weights).map(|(x, (gamma, beta))| (x - mean) * scale * gamma + beta).collect()
    };
    x.chunks_exact(COLUMNS).flat_map(row).collect()
}

#[test]
fn gradients_agree_with_differences() {
    let [x, residual] = [41, 42].map(|seed| numbers(seed, ROWS * COLUMNS, 2.0));
    let [gamma, beta] = [43, 44].map(|seed| numbers(seed, COLUMNS, 1.5));
    let given = numbers(45, ROWS * COLUMNS, 1.0);
    let weights = NormWeights { gamma: &gamma, beta: &beta, epsilon: EPSILON };
    let found = same_on_all(|isa| {
        let (mut rows, mut scales) = (vec![0.0; x.len()], vec![0.0; ROWS]);
        let (mut out, mut expected) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let kept = NormKept { rows: &mut rows, scales: &mut scales };
        norm_rows_kept(isa, &x, Some(&residual), weights, kept, &mut out);
        layer_norm_rows(isa, &x, Some(&residual), &gamma, Some(&beta), EPSILON, &mut expected);
        assert_eq!(out, expected);
        let (mut of_gamma, mut of_beta) = (vec![0.0; COLUMNS], vec![0.0; COLUMNS]);
        let mut gradients = given.clone();
        let kept = (&rows[..], &scales[..]);
        norm_gradient_rows(isa, &mut gradients, kept, &gamma, &mut of_gamma, &mut of_beta);
        [gradients, of_gamma, of_beta].concat()
    });
    let sums = x.iter().zip(&residual).map(|(x, other)| f64::from(*x) + f64::from(*other));
    let exact = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
    let all = [sums.collect(), exact(&gamma), exact(&beta)].concat();
    for (at, found) in found.iter().enumerate() {
        let loss = |step: f64| -> f64 {
            let mut all = all.clone();
            all[at] += step;
            let (x, weights) = all.split_at(ROWS * COLUMNS);
            let out = plain(x, &weights[..COLUMNS], &weights[COLUMNS..]);
            out.iter().zip(&given).map(|(out, given)| out * f64::from(*given)).sum()
        };
        let expected = (loss(1e-5) - loss(-1e-5)) / 2e-5;
        assert!((f64::from(*found) - expected).abs() < 1e-4, "{at}: {found} {expected}");
    }
}
