//! Trainings from the first step to a model that answers, and their ends and new beginnings.

use truststram_model::kernels::Isa;

use super::*;
use crate::data::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, digits};
use crate::net::{LayerActivation, LayerSpec, NetSpec, Precision};
use crate::optimiser::OptimiserSpec;
use crate::schedule::Schedule;
use crate::spec::EarlyStop;

fn split() -> Split {
    digits().unwrap().split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED)
}

/// Rows whose number is twice the first feature less the second, or whether it is above zero.
fn line(is_of_classes: bool) -> Split {
    let mut random = Random::new(6);
    let features: Vec<f32> = (0..2 * 300).map(|_| random.normal() as f32 * 3.0 + 5.0).collect();
    let values: Vec<f32> = features.chunks_exact(2).map(|x| 2.0 * x[0] - x[1] - 5.0).collect();
    let is_above = |value: &f32| u32::from(*value > 0.0);
    let mut data = Dataset {
        features,
        labels: values.iter().map(is_above).collect(),
        values: Vec::new(),
        feature_count: 2,
        classes: ["below", "above"].map(str::to_owned).into(),
        packed: None,
    };
    if !is_of_classes {
        (data.labels, data.classes, data.values) = (Vec::new(), Vec::new(), values);
    }
    data.split(0.2, 3)
}

fn run(split: &Split, spec: &TrainSpec) -> Outcome {
    train(split, spec, &[], None, &mut |_| Go::On).unwrap().unwrap()
}

#[test]
fn a_line_is_found_by_each_loss_of_numbers_and_a_half_by_each_of_classes() {
    let optimiser = OptimiserSpec::Sgd {
        learning_rate: 0.05,
        momentum: 0.9,
        nesterov: true,
        weight_decay: 0.0,
    };
    let spec = |loss| TrainSpec { loss, optimiser, epochs: 30, ..TrainSpec::default() };
    for loss in [Loss::Mse, Loss::Huber { delta: 1.0 }] {
        let found = run(&line(false), &spec(loss)).held_out.mean_square.unwrap();
        assert!(found < 1e-3, "{loss:?}: {found}");
    }
    let smoothed = Loss::SmoothedCrossEntropy { smoothing: 0.1 };
    for loss in [Loss::CrossEntropy, Loss::BinaryCrossEntropy, smoothed] {
        let found = run(&line(true), &spec(loss)).held_out.accuracy.unwrap();
        assert!(found > 0.94, "{loss:?}: {found}");
    }
}

fn convolutions() -> TrainSpec {
    let activation = LayerActivation::Relu;
    TrainSpec {
        epochs: 3,
        net: NetSpec {
            image: Some([8, 8, 1]),
            layers: vec![
                LayerSpec::Conv { channels: 6, kernel: 3, padding: 1, activation },
                LayerSpec::MaxPool { size: 2 },
                LayerSpec::Conv { channels: 8, kernel: 3, padding: 0, activation },
                LayerSpec::Dropout { rate: 0.1 },
                LayerSpec::Dense { outputs: 32, activation },
            ],
            ..NetSpec::default()
        },
        clip_norm: Some(5.0),
        optimiser: OptimiserSpec::AdamW {
            learning_rate: 1e-2,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.01,
            amsgrad: true,
        },
        schedule: Schedule::OneCycle {
            rise: 0.3,
            start_divisor: 25.0,
            end_divisor: 1e4,
            momentum: Some([0.85, 0.95]),
        },
        ..TrainSpec::default()
    }
}

#[test]
fn convolutions_learn_digits_and_are_served_as_they_were_trained() {
    let outcome = run(&split(), &TrainSpec { epochs: 8, ..convolutions() });
    let accuracy = outcome.held_out.accuracy.unwrap();
    assert!(accuracy > 0.93, "{accuracy}");
    let bytes = outcome.model.to_bytes().unwrap();
    truststram_model::artifact::Artifact::parse(&bytes).unwrap();
}

#[test]
fn bf16_learns_digits_as_f32_does_or_is_refused() {
    let mut spec = TrainSpec { epochs: 8, ..convolutions() };
    let exact = run(&split(), &spec).held_out.accuracy.unwrap();
    spec.net.precision = Precision::Bf16;
    match (Isa::detect(), train(&split(), &spec, &[], None, &mut |_| Go::On)) {
        (Isa::Avx512 { bf16: true, vnni: true }, found) => {
            let found = found.unwrap().unwrap().held_out.accuracy.unwrap();
            assert!((found - exact).abs() < 0.02, "{found} {exact}");
        }
        (_, refused) => assert!(refused.unwrap_err().to_string().contains("AVX-512 BF16")),
    }
}

#[test]
fn a_training_that_goes_on_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let files = Checkpoints { path: folder.path().join("a.checkpoint"), every_steps: 7 };
    let spec = TrainSpec {
        accumulate: 2,
        early_stop: Some(EarlyStop { patience: 2, gain_min: 0.0 }),
        ..convolutions()
    };
    let split = split();
    let whole = run(&split, &spec).model.to_bytes().unwrap();
    let mut parts = 0;
    let ended = loop {
        parts += 1;
        let mut left = 11;
        let mut note = |_: &Step| {
            left -= 1;
            if left == 0 { Go::Stop } else { Go::On }
        };
        if let Some(outcome) = train(&split, &spec, &[], Some(&files), &mut note).unwrap() {
            break outcome.model.to_bytes().unwrap();
        }
        assert!(files.path.exists());
    };
    assert!(parts > 3, "{parts}");
    assert!(whole == ended);
    // It stays until the model is kept: who is killed before that ends the same once more.
    let again = train(&split, &spec, &[], Some(&files), &mut |_| Go::On).unwrap().unwrap();
    assert!(whole == again.model.to_bytes().unwrap());
    files.remove().unwrap();
    assert!(!files.path.exists());
}

#[test]
fn a_training_that_ran_short_of_memory_goes_on_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let files = |name| Checkpoints { path: folder.path().join(name), every_steps: 1_000 };
    let (split, spec) = (split(), convolutions());
    // Memory runs short after the fifth step, and after the ninth; `last` is where it is ended.
    let killed = folder.path().join("killed");
    let part = |files: &Checkpoints, last: u64| {
        let mut parts = Vec::new();
        let mut note = |step: &Step| {
            parts.push((step.step, step.part_rows, step.rows));
            match step.step {
                5 | 9 => Go::Shrink,
                number if number == last => {
                    std::fs::copy(&files.path, &killed).unwrap();
                    Go::Stop
                }
                _ => Go::On,
            }
        };
        let outcome = train(&split, &spec, &[], Some(files), &mut note).unwrap();
        (outcome.map(|outcome| outcome.model.to_bytes().unwrap()), parts)
    };
    let (whole, parts) = part(&files("a"), 0);
    let found = |number: usize| (parts[number - 1].1, parts[number - 1].2);
    assert_eq!([found(5), found(6), found(10)], [(32, 32), (16, 32), (8, 32)]);
    // A kill leaves the checkpoint of where it last ran short.
    for (last, from) in [(8, 6), (6, 6), (12, 10)] {
        let files = files("b");
        assert!(part(&files, last).0.is_none());
        std::fs::rename(&killed, &files.path).unwrap();
        let (again, parts) = part(&files, 0);
        assert_eq!(parts[0].0, from);
        files.remove().unwrap();
        assert!(again == whole, "{last}");
    }
    assert!(run(&split, &spec).model.to_bytes().unwrap() != whole.unwrap());
}

#[test]
fn weights_that_are_no_numbers_are_no_model() {
    // The loss of the only step is that of the weights before it.
    let optimiser = OptimiserSpec::Sgd {
        learning_rate: 1e38,
        momentum: 0.0,
        weight_decay: 0.0,
        nesterov: false,
    };
    let stop = Some(EarlyStop { patience: 1, gain_min: 0.0 });
    for early_stop in [None, stop] {
        let spec = TrainSpec {
            epochs: 1,
            batch_size: 1_000,
            loss: Loss::Mse,
            optimiser,
            early_stop,
            ..TrainSpec::default()
        };
        let error = train(&line(false), &spec, &[], None, &mut |_| Go::On).unwrap_err();
        assert!(matches!(error, TrainError::Diverged { epoch: 1 }), "{error}");
    }
}

#[test]
fn a_checkpoint_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = Checkpoints { path: folder.path().join("a.checkpoint"), every_steps: 1 };
    let spec = TrainSpec { epochs: 1, ..TrainSpec::default() };
    let stop = &mut |_: &Step| Go::Stop;
    assert!(train(&line(true), &spec, &[], Some(&files), stop).unwrap().is_none());
    let check = |split: &Split, spec: &TrainSpec, cores: &[u32]| {
        let error = train(split, spec, cores, Some(&files), &mut |_| Go::On).unwrap_err();
        assert!(matches!(error, TrainError::Checkpoint { .. }), "{error}");
    };
    check(&line(true), &TrainSpec { seed: 2, ..spec.clone() }, &[]);
    check(&split(), &spec, &[]);
    check(&line(true), &spec, &[0, 0]);
    std::fs::write(&files.path, b"damaged").unwrap();
    check(&line(true), &spec, &[]);
}

#[test]
fn an_early_stop_keeps_the_best_weights() {
    let spec = TrainSpec {
        early_stop: Some(EarlyStop { patience: 1, gain_min: 1e9 }),
        ..TrainSpec::default()
    };
    let mut epochs = 0;
    let outcome = train(&line(true), &spec, &[], None, &mut |step| {
        epochs = step.epoch;
        Go::On
    });
    assert_eq!(epochs, 2, "one that is the best so far, and one that is not better");
    let one = TrainSpec { epochs: 1, early_stop: None, ..spec };
    let first = run(&line(true), &one).model.to_bytes().unwrap();
    assert!(outcome.unwrap().unwrap().model.to_bytes().unwrap() == first);
}

#[test]
fn options_that_do_not_fit_are_named() {
    let check = |change: &dyn Fn(&mut TrainSpec), expected: &str| {
        let mut spec = TrainSpec::default();
        change(&mut spec);
        let error = train(&line(true), &spec, &[], None, &mut |_| Go::On).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(&|spec| spec.epochs = 0, "epochs");
    check(&|spec| spec.accumulate = 0, "accumulate");
    check(&|spec| spec.held_out = 1.0, "held_out");
    check(&|spec| spec.class_weights = vec![1.0; 3], "class_weights");
    check(&|spec| spec.class_weights = vec![0.0; 2], "class_weights");
    check(&|spec| spec.clip_norm = Some(f32::NAN), "clip_norm");
    check(&|spec| spec.loss = Loss::Mse, "no numbers");
    check(&|spec| spec.loss = Loss::Huber { delta: 0.0 }, "loss.delta");
    check(&|spec| spec.loss = Loss::SmoothedCrossEntropy { smoothing: 1.0 }, "smoothing");
    check(&|spec| spec.early_stop = Some(EarlyStop { patience: 0, gain_min: 0.0 }), "early_stop");
}
