//! Gradients of every layer against finite differences of a plain network in f64, and that workers
//! and buffers change nothing.

use super::*;
use crate::loss::{Loss, Targets};
use crate::random::Random;
use crate::step::{Batch, StepOptions, Stepper};
use crate::{OptimiserSpec, Pace};

fn net(image: Option<[usize; 3]>, layers: &[LayerSpec]) -> NetSpec {
    NetSpec { image, layers: layers.to_vec(), ..NetSpec::default() }
}

fn dense(outputs: usize, activation: LayerActivation) -> LayerSpec {
    LayerSpec::Dense { outputs, activation }
}

fn conv(channels: usize, kernel: usize, padding: usize) -> LayerSpec {
    LayerSpec::Conv { channels, kernel, padding, activation: LayerActivation::Relu }
}

/// The networks that the tests are about, with their numbers of features.
fn nets() -> Vec<(NetSpec, usize)> {
    use LayerActivation::{None, Relu, Tanh};
    let pool = |size| LayerSpec::MaxPool { size };
    vec![
        (net(Option::None, &[]), 5),
        (net(Option::None, &[dense(7, Relu), dense(5, Tanh), dense(6, None)]), 5),
        (net(Option::None, &[dense(50, Relu), LayerSpec::Dropout { rate: 0.4 }]), 9),
        (net(Some([5, 4, 2]), &[conv(3, 3, 1)]), 40),
        (net(Some([6, 7, 1]), &[conv(3, 3, 0), pool(2), conv(2, 2, 1), dense(9, Relu)]), 42),
        (net(Some([5, 5, 3]), &[pool(2)]), 75),
    ]
}

fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.normal() as f32).collect()
}

/// The network by its definition, in f64; `kept` are the factors of dropouts.
fn plain(net: &Net, weights: &[f64], input: &[f64], kept: &[Vec<f32>], row: usize) -> Vec<f64> {
    let mut values = input.to_vec();
    for (index, layer) in net.layers.iter().enumerate() {
        values = match layer {
            Layer::Dense { inputs, outputs, activation, place } => (0..*outputs)
                .map(|output| {
                    let weight = &weights[place.weight.start + output * inputs..][..*inputs];
                    let sum: f64 = weight.iter().zip(&values).map(|(w, x)| w * x).sum();
                    let sum = sum + weights[place.bias.start + output];
                    match activation {
                        LayerActivation::None => sum,
                        LayerActivation::Relu => sum.max(0.0),
                        LayerActivation::Tanh => sum.tanh(),
                    }
                })
                .collect(),
            Layer::Conv {
                image: [height, width, before], channels, side, padding, place, ..
            } => {
                let [rows, columns, _] = layer.image();
                let mut out = vec![0.0; rows * columns * channels];
                for (at, out) in out.iter_mut().enumerate() {
                    let (pixel, channel) = (at / channels, at % channels);
                    let (y, x) = (pixel / columns, pixel % columns);
                    let mut sum = weights[place.bias.start + channel];
                    for patch in 0..side * side * before {
                        let (dy, dx) = (patch / before / side, patch / before % side);
                        let (from_y, from_x) =
                            ((y + dy).wrapping_sub(*padding), (x + dx).wrapping_sub(*padding));
                        if from_y < *height && from_x < *width {
                            let from = (from_y * width + from_x) * before + patch % before;
                            let weight = channel * side * side * before + patch;
                            sum += weights[place.weight.start + weight] * values[from];
                        }
                    }
                    *out = sum.max(0.0);
                }
                out
            }
            Layer::MaxPool { image: [_, width, channels], size } => {
                let [_, columns, _] = layer.image();
                let at = |out: usize, pixel: usize| {
                    let (y, x) = (out / channels / columns * size, out / channels % columns * size);
                    let place = (y + pixel / size) * width + x + pixel % size;
                    values[place * channels + out % channels]
                };
                let largest = |out| (0..size * size).map(|p| at(out, p)).fold(f64::MIN, f64::max);
                (0..layer.outputs()).map(largest).collect()
            }
            Layer::Encoder(_) => panic!("encoders have tests of their own"),
            Layer::Dropout { count, .. } => {
                let kept = &kept[index][row * count..][..*count];
                values.iter().zip(kept).map(|(x, kept)| x * f64::from(*kept)).collect()
            }
        };
    }
    values
}

#[test]
fn gradients_agree_with_finite_differences_in_f64() {
    const ROWS: usize = 5;
    const STEP: f64 = 1e-5;
    for (number, (spec, inputs)) in nets().into_iter().enumerate() {
        let net = Net::new(&spec, inputs, 3).unwrap();
        let mut weights = net.first_weights(&mut Random::new(number as u64));
        // Biases of zero would hide mistakes.
        weights
            .iter_mut()
            .filter(|w| **w == 0.0)
            .zip(values(3, 500))
            .for_each(|(w, x)| *w = x / 9.0);
        let input = values(1, ROWS * inputs);
        let targets = values(2, ROWS * 3);
        let mut pass = Pass::new(truststram_model::kernels::Isa::detect(), &net);
        let dropping = Some(Dropping { seed: 4, first_row: 0 });
        let (given, gradients) = pass.forward(&net, &weights, &input, ROWS, dropping);
        let given_before = given.to_vec();
        let isa = truststram_model::kernels::Isa::detect();
        Loss::Mse.compute(isa, 3, given, Targets::Numbers(&targets), &[], gradients);
        pass.backward(&net, &weights, &input, ROWS, false);
        let exact: Vec<f64> = weights.iter().copied().map(f64::from).collect();
        let input: Vec<f64> = input.iter().copied().map(f64::from).collect();
        let answers = |weights: &[f64]| -> Vec<f64> {
            let row = |row| plain(&net, weights, &input[row * inputs..][..inputs], &pass.kept, row);
            (0..ROWS).flat_map(row).collect()
        };
        for (found, expected) in given_before.iter().zip(answers(&exact)) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-4,
                "net {number}: {found} {expected}"
            );
        }
        let loss = |weights: &[f64]| -> f64 {
            let pairs = answers(weights).into_iter().zip(&targets);
            pairs.map(|(given, target)| (given - f64::from(*target)).powi(2)).sum()
        };
        let largest = pass.gradients.iter().fold(1.0, |top: f32, x| top.max(x.abs()));
        for (index, found) in pass.gradients.iter().enumerate() {
            let at = |step: f64| {
                let mut moved = exact.clone();
                moved[index] += step;
                loss(&moved)
            };
            let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            let off = (f64::from(*found) - expected).abs();
            assert!(off < 1e-4 * f64::from(largest), "net {number}, {index}: {found} {expected}");
        }
    }
}

fn trained(spec: &NetSpec, inputs: usize, cores: &[u32], parts: usize) -> Vec<f32> {
    let options = StepOptions {
        clip_norm: Some(1.0),
        optimiser: OptimiserSpec::Sgd {
            learning_rate: 0.1,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 0.01,
        },
        seed: 8,
        ..StepOptions::default()
    };
    let mut stepper = Stepper::new(spec, (inputs, 3), options, cores).unwrap();
    const ROWS: usize = 48;
    let features = values(5, ROWS * inputs);
    let labels: Vec<u32> = (0..ROWS as u32).map(|row| row % 3).collect();
    for step in 0..4 {
        for part in 0..parts {
            let rows = ROWS / parts;
            let labels = &labels[part * rows..][..rows];
            let features = &features[part * rows * inputs..][..rows * inputs];
            let batch = Batch { features, targets: Targets::Classes(labels), rows };
            stepper.accumulate(batch, step);
        }
        stepper.finish(Pace { rate: 0.1, momentum: None });
    }
    stepper.weights().to_vec()
}

#[test]
fn two_workers_and_two_parts_agree_with_one() {
    let check = |a: &[f32], b: &[f32], what: &str| {
        let off = a.iter().zip(b).fold(0.0, |top: f32, (a, b)| top.max((a - b).abs()));
        assert!(off < 1e-5, "{what}: {off}");
    };
    for (number, (spec, inputs)) in nets().into_iter().enumerate() {
        let one = trained(&spec, inputs, &[], 1);
        assert_eq!(one, trained(&spec, inputs, &[], 1), "net {number}: the same bits");
        let two = trained(&spec, inputs, &[0, 0], 1);
        assert_eq!(two, trained(&spec, inputs, &[0, 0], 1), "net {number}: the same bits");
        check(&one, &two, "two workers");
        // Rows of a part have their dropouts by their place in it.
        if !spec.layers.iter().any(|layer| matches!(layer, LayerSpec::Dropout { .. })) {
            check(&one, &trained(&spec, inputs, &[], 2), "two parts");
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let check = |spec: &NetSpec, expected: &str| {
        let error = Net::new(spec, 40, 3).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let relu = LayerActivation::Relu;
    check(&net(None, &[conv(3, 3, 0)]), "net.image");
    check(&net(Some([5, 4, 3]), &[]), "net.image");
    check(&net(Some([usize::MAX, 4, 3]), &[]), "net.image");
    check(&net(Some([5, 4, 2]), &[conv(3, 6, 0)]), "kernel");
    check(&net(Some([5, 4, 2]), &[conv(3, 3, 3)]), "kernel");
    check(&net(Some([5, 4, 2]), &[conv(0, 3, 0)]), "channels");
    check(&net(Some([5, 4, 2]), &[LayerSpec::MaxPool { size: 5 }]), "size");
    check(&net(Some([5, 4, 2]), &[dense(8, relu), conv(3, 3, 0)]), "net.image");
    check(&net(None, &[dense(0, relu)]), "outputs");
    check(&net(None, &[LayerSpec::Dropout { rate: 1.0 }]), "rate");
    check(&net(None, &vec![dense(65_536, relu); 40]), "fewer weights");
    check(&net(None, &vec![dense(1, relu); 65]), "64 layers");
}
