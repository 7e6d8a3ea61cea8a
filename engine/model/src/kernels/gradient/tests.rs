//! Slopes against differences of the functions themselves, and the same bits on every set.

use super::*;
use crate::kernels::tests::{numbers, same_on_all};
use crate::kernels::{activate, softmax_rows};

const COLUMNS: usize = 37;
const ROWS: usize = 19;

#[test]
fn slopes_are_those_of_the_functions() {
    use Activation::{Gelu, GeluTanh, None, Relu, Silu, Tanh};
    let before = numbers(31, ROWS * COLUMNS, 6.0);
    let given = numbers(32, ROWS * COLUMNS, 1.0);
    for activation in [None, Relu, Tanh, Gelu, GeluTanh, Silu] {
        let after = |step: f32| {
            let mut values: Vec<f32> = before.iter().map(|x| x + step).collect();
            activate(Isa::detect(), activation, &mut values);
            values
        };
        let results = after(0.0);
        let known = match activation {
            Tanh => Known::After(&results),
            _ => Known::Before(&before),
        };
        let found = same_on_all(|isa| {
            let (mut gradients, mut sums) = (given.clone(), vec![9.0; COLUMNS]);
            gradient_rows(isa, activation, known, &mut gradients, &mut sums);
            gradients.extend(sums);
            gradients
        });
        let step = 2e-3;
        let mut sums = vec![9.0_f64; COLUMNS];
        for (index, (up, down)) in after(step).iter().zip(after(-step)).enumerate() {
            let slope = (f64::from(*up) - f64::from(down)) / f64::from(2.0 * step);
            let expected = f64::from(given[index]) * slope;
            // Where a ReLU bends, differences are between both sides.
            if before[index].abs() > step {
                let off = (f64::from(found[index]) - expected).abs();
                assert!(off < 5e-4, "{activation:?}({}): {off}", before[index]);
            }
            sums[index % COLUMNS] += f64::from(found[index]);
        }
        for (found, expected) in found[ROWS * COLUMNS..].iter().zip(sums) {
            assert!((f64::from(*found) - expected).abs() < 1e-4, "{activation:?}");
        }
    }
}

#[test]
fn a_relu_is_known_by_both_sides() {
    let before = numbers(33, ROWS * COLUMNS, 1.0);
    let after: Vec<f32> = before.iter().map(|x| x.max(0.0)).collect();
    let run = |known| {
        let (mut gradients, mut sums) = (numbers(34, before.len(), 1.0), vec![0.0; COLUMNS]);
        gradient_rows(Isa::detect(), Activation::Relu, known, &mut gradients, &mut sums);
        (gradients, sums)
    };
    assert_eq!(run(Known::Before(&before)), run(Known::After(&after)));
}

#[test]
fn gradients_pass_a_softmax() {
    let scores = numbers(35, 5 * COLUMNS, 2.0);
    let given = numbers(36, 5 * COLUMNS, 1.0);
    let shares = |step: f32, at: usize| {
        let mut values = scores.clone();
        values[at] += step;
        softmax_rows(Isa::detect(), &mut values, COLUMNS);
        values
    };
    let found = same_on_all(|isa| {
        let mut gradients = given.clone();
        softmax_gradient_rows(isa, &shares(0.0, 0), &mut gradients, COLUMNS, 0.5);
        gradients
    });
    for (at, found) in found.iter().enumerate() {
        let loss = |step: f32| -> f64 {
            let pairs = shares(step, at).into_iter().zip(&given);
            pairs.map(|(share, weight)| f64::from(share) * f64::from(*weight)).sum()
        };
        let expected = 0.5 * (loss(1e-2) - loss(-1e-2)) / 2e-2;
        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} {expected}");
    }
}
