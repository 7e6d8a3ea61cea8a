//! Owns the comparison of optimisers, the schedule and the losses with PyTorch.
//!
//! Refuses to make the answers: tests/golden/make_training.py does. Bound: a few steps each.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use truststram_model::kernels::Isa;

use crate::loss::{Loss, Targets};
use crate::optimiser::{Optimiser, OptimiserSpec};
use crate::schedule::{Pace, Schedule};

const GOLDEN: &str = include_str!("../../../tests/golden/training/torch.json");

fn cases<T: DeserializeOwned>(kind: &str) -> Vec<T> {
    let all: Value = serde_json::from_str(GOLDEN).unwrap();
    serde_json::from_value(all[kind].clone()).unwrap()
}

#[derive(Deserialize)]
struct Trajectory {
    spec: OptimiserSpec,
    first: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    weights: Vec<Vec<f32>>,
}

#[test]
fn optimisers_go_the_way_of_pytorch() {
    for case in cases::<Trajectory>("optimisers") {
        let mut weights = case.first;
        let mut optimiser = Optimiser::new(case.spec, weights.len());
        let pace = Pace { rate: case.spec.rate(), momentum: None };
        for (step, (gradients, expected)) in case.gradients.iter().zip(&case.weights).enumerate() {
            optimiser.step(Isa::detect(), pace, 1.0, &mut weights, gradients, 1);
            for (found, expected) in weights.iter().zip(expected) {
                let off = (found - expected).abs();
                assert!(off < 2e-6, "{:?}, step {step}: {found} {expected}", case.spec);
            }
        }
    }
}

#[derive(Deserialize)]
struct Cycle {
    schedule: Schedule,
    rate: f64,
    steps: u64,
    rates: Vec<f64>,
    momenta: Vec<f64>,
}

#[test]
fn one_cycle_has_the_rates_of_pytorch() {
    for case in cases::<Cycle>("one_cycle") {
        for (step, (rate, momentum)) in (0..).zip(case.rates.iter().zip(&case.momenta)) {
            let pace = case.schedule.pace(case.rate, step, case.steps);
            assert!((pace.rate - rate).abs() < 1e-12, "{step}: {} {rate}", pace.rate);
            let found = pace.momentum.unwrap();
            assert!((found - momentum).abs() < 1e-12, "{step}: {found} {momentum}");
        }
    }
}

#[test]
fn a_warm_up_is_a_straight_line() {
    let schedule = Schedule::Constant { warm_up_steps: 4 };
    let rates: Vec<f64> = (0..6).map(|step| schedule.pace(2.0, step, 6).rate).collect();
    assert_eq!(rates, [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]);
}

#[derive(Deserialize)]
struct LossCase {
    loss: Loss,
    outputs: usize,
    given: Vec<f32>,
    targets: Vec<f32>,
    class_weights: Vec<f32>,
    value: f64,
    gradients: Vec<f32>,
}

#[test]
fn losses_and_their_gradients_are_those_of_pytorch() {
    for mut case in cases::<LossCase>("losses") {
        let classes: Vec<u32> = case.targets.iter().map(|target| *target as u32).collect();
        let targets = match case.loss.is_of_classes() {
            true => Targets::Classes(&classes),
            false => Targets::Numbers(&case.targets),
        };
        let mut gradients = vec![0.0; case.given.len()];
        let weights = &case.class_weights;
        let (isa, outputs) = (Isa::detect(), case.outputs);
        let sums =
            case.loss.compute(isa, outputs, &mut case.given, targets, weights, &mut gradients);
        let off = (sums.mean() - case.value).abs();
        assert!(off < 2e-6, "{:?}: {} {}", case.loss, sums.mean(), case.value);
        for (found, expected) in gradients.iter().zip(&case.gradients) {
            let found = f64::from(*found) / sums.weight;
            let off = (found - f64::from(*expected)).abs();
            assert!(off < 1e-6, "{:?}: {found} {expected}", case.loss);
        }
    }
}
