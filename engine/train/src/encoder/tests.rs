//! Gradients of encoders against finite differences of a plain one in f64, that computing values
//! anew, workers and parts change nothing, and that models answer as the trained network does.

use std::sync::Arc;

use truststram_model::kernels::{Alone, Isa};
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::Shape;

use super::dropping::{ShareDropping, drop_out};
use super::*;
use crate::export::{Exported, export};
use crate::loss::{Loss, Targets};
use crate::net::{Dropping, LayerActivation, LayerSpec, Net, NetSpec, Pass, Place};
use crate::random::Random;
use crate::step::{Batch, StepOptions, Stepper};
use crate::{OptimiserSpec, Pace};

mod plain;

use plain::Plain;

const DROPPING: Dropping = Dropping { seed: 4, first_row: 0 };
const OUTPUTS: usize = 3;

fn spec() -> EncoderSpec {
    EncoderSpec {
        vocabulary: 11,
        length_max: 7,
        hidden: 6,
        layers: 2,
        heads: 2,
        feed_forward: 10,
        activation: EncoderActivation::Gelu,
        pooling: EncoderPooling::Mean,
        dropout: 0.0,
        attention_dropout: 0.0,
        recompute: false,
        epsilon: 1e-5,
        position_first: 0,
        padding: None,
        types: 0,
    }
}

/// The encoders that the tests are about.
fn specs() -> Vec<EncoderSpec> {
    let first = EncoderPooling::First;
    let of = |activation| EncoderSpec { activation, ..spec() };
    let marked = EncoderSpec { position_first: 2, padding: Some(3), types: 2, ..spec() };
    vec![
        spec(),
        EncoderSpec { dropout: 0.3, pooling: first, types: 1, ..of(EncoderActivation::GeluTanh) },
        EncoderSpec { recompute: true, dropout: 0.1, attention_dropout: 0.2, ..marked },
        EncoderSpec { attention_dropout: 0.4, ..spec() },
        of(EncoderActivation::Silu),
        of(EncoderActivation::Tanh),
        EncoderSpec { layers: 3, heads: 1, recompute: true, ..of(EncoderActivation::Relu) },
    ]
}

fn net(spec: EncoderSpec) -> Net {
    let head = LayerSpec::Dense { outputs: 5, activation: LayerActivation::Tanh };
    let layers = vec![LayerSpec::Encoder(Box::new(spec.clone())), head];
    Net::new(&NetSpec { layers, ..NetSpec::default() }, spec.length_max, OUTPUTS).unwrap()
}

/// Texts of several lengths, one of them whole.
fn texts(spec: &EncoderSpec, count: usize) -> Vec<f32> {
    let mut random = Random::new(12);
    let mut rows = Vec::new();
    for text in 0..count {
        let length = spec.length_max - (text * 2) % spec.length_max;
        rows.extend((0..spec.length_max).map(|place| match place < length {
            true => (random.next() % spec.vocabulary as u64) as f32,
            false => -1.0,
        }));
    }
    rows
}

/// Weights that hide nothing: of normal size, with biases.
fn weights(net: &Net) -> Vec<f32> {
    let mut random = Random::new(8);
    let mut weights = net.first_weights(&mut random);
    weights.iter_mut().for_each(|weight| *weight += (random.normal() * 0.4) as f32);
    weights
}

fn tokens_of(spec: &EncoderSpec, rows: &[f32]) -> Vec<Vec<u32>> {
    let text = |row: &[f32]| row.iter().take_while(|x| **x >= 0.0).map(|x| *x as u32).collect();
    rows.chunks_exact(spec.length_max).map(text).collect()
}

fn exact(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// The gradients of all weights and the loss of some texts.
fn gradients(net: &Net, weights: &[f32], rows: &[f32], targets: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let count = rows.len() / net.inputs;
    let mut pass = Pass::new(Isa::detect(), net);
    let (given, above) = pass.forward(net, weights, rows, count, Some(DROPPING));
    let answers = given.to_vec();
    let targets = Targets::Numbers(targets);
    Loss::Mse.compute(Isa::detect(), OUTPUTS, given, targets, &[], above);
    pass.backward(net, weights, rows, count, false);
    (answers, pass.gradients)
}

#[test]
fn gradients_agree_with_finite_differences_in_f64() {
    const TEXTS: usize = 4;
    const STEP: f64 = 1e-5;
    for (number, spec) in specs().into_iter().enumerate() {
        let net = net(spec.clone());
        let weights = weights(&net);
        let rows = texts(&spec, TEXTS);
        let mut random = Random::new(5);
        let targets: Vec<f32> = (0..TEXTS * OUTPUTS).map(|_| random.normal() as f32).collect();
        let (answers, gradients) = gradients(&net, &weights, &rows, &targets);
        let tokens = tokens_of(&spec, &rows);
        let mut offsets = vec![0];
        for text in &tokens {
            offsets.push(offsets[offsets.len() - 1] + text.len() as u32);
        }
        let count = *offsets.last().unwrap() as usize;
        let site = |site| {
            let mut ones = vec![1.0; count * spec.hidden];
            drop_out(&spec, Some(DROPPING), site, &offsets, &mut ones);
            exact(&ones)
        };
        let kept: Vec<Vec<f64>> = (0..=2 * spec.layers).map(site).collect();
        let encoder = net.layers[0].encoder().unwrap();
        let exact = exact(&weights);
        let dropping = Some(DROPPING);
        let plain = |weights: &[f64]| {
            Plain { encoder, weights, kept: &kept, dropping }.answers(&net, &tokens)
        };
        for (found, expected) in answers.iter().zip(plain(&exact)) {
            let off = (f64::from(*found) - expected).abs();
            assert!(off < 1e-4, "encoder {number}: {found} {expected}");
        }
        let loss = |weights: &[f64]| -> f64 {
            let pairs = plain(weights).into_iter().zip(&targets);
            pairs.map(|(given, target)| (given - f64::from(*target)).powi(2)).sum()
        };
        let largest = gradients.iter().fold(1.0, |top: f32, x| top.max(x.abs()));
        for (index, found) in gradients.iter().enumerate() {
            let at = |step: f64| {
                let mut moved = exact.clone();
                moved[index] += step;
                loss(&moved)
            };
            let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            let off = (f64::from(*found) - expected).abs();
            let bound = 1e-4 * f64::from(largest);
            assert!(off < bound, "encoder {number}, {index}: {found} {expected}");
        }
    }
}

#[test]
fn values_computed_anew_are_the_same_bits_in_less_memory() {
    let wide = EncoderSpec { layers: 6, hidden: 32, feed_forward: 128, dropout: 0.1, ..spec() };
    let run = |recompute| {
        let spec = EncoderSpec { recompute, ..wide.clone() };
        let net = net(spec.clone());
        let (weights, rows) = (weights(&net), texts(&spec, 16));
        let targets = vec![0.5; 16 * OUTPUTS];
        let (_, found) = gradients(&net, &weights, &rows, &targets);
        let mut pass = Pass::new(Isa::detect(), &net);
        pass.forward(&net, &weights, &rows, 16, Some(DROPPING));
        (found, pass.encoder.count())
    };
    let ((kept, whole), (anew, less)) = (run(false), run(true));
    assert!(kept == anew);
    // A sixth of the inner values, and what goes from layer to layer.
    assert!(less * 3 < whole, "{less} of {whole} numbers");
}

#[test]
fn shares_of_attention_are_left_out_in_training_alone() {
    let run = |attention_dropout, dropping| {
        let net = net(EncoderSpec { attention_dropout, ..spec() });
        let (weights, rows) = (weights(&net), texts(&spec(), 8));
        let mut pass = Pass::new(Isa::detect(), &net);
        let answers = pass.forward(&net, &weights, &rows, 8, dropping).0.to_vec();
        (answers, pass.encoder.count())
    };
    let asked = run(0.5, None);
    // At 0 nothing is drawn, and no room is taken.
    assert_eq!(run(0.0, Some(DROPPING)), asked);
    let trained = run(0.5, Some(DROPPING));
    assert_eq!(trained, run(0.5, Some(DROPPING)), "the same bits");
    assert_eq!(trained.1, asked.1 + 7 * 7);
    assert_ne!(trained.0, asked.0);
    assert_ne!(trained.0, run(0.5, Some(Dropping { seed: 5, first_row: 0 })).0);
    // The share that is left out, and the mean of the rest.
    let spec = EncoderSpec { attention_dropout: 0.3, ..spec() };
    let mut ones = vec![1.0; 1 << 16];
    ShareDropping::of(&spec, Some(DROPPING), 1).unwrap().drop_out(2, 1, &mut ones);
    let zeros = ones.iter().filter(|one| **one == 0.0).count() as f64 / ones.len() as f64;
    assert!((zeros - 0.3).abs() < 0.01, "{zeros}");
    assert!((ones.iter().sum::<f32>() / ones.len() as f32 - 1.0).abs() < 0.02);
}

fn trained(spec: &EncoderSpec, cores: &[u32], parts: usize) -> Stepper {
    let layers = vec![LayerSpec::Encoder(Box::new(spec.clone()))];
    let net = NetSpec { layers, ..NetSpec::default() };
    let optimiser = OptimiserSpec::Sgd {
        learning_rate: 0.1,
        momentum: 0.9,
        nesterov: false,
        weight_decay: 0.01,
    };
    let options =
        StepOptions { optimiser, clip_norm: Some(1.0), seed: 8, ..StepOptions::default() };
    let mut stepper = Stepper::new(&net, (spec.length_max, OUTPUTS), options, cores).unwrap();
    const ROWS: usize = 48;
    let features = texts(spec, ROWS);
    let labels: Vec<u32> = (0..ROWS as u32).map(|row| row % 3).collect();
    for step in 0..3 {
        for part in 0..parts {
            let rows = ROWS / parts;
            let labels = &labels[part * rows..][..rows];
            let features = &features[part * rows * spec.length_max..][..rows * spec.length_max];
            let batch = Batch { features, targets: Targets::Classes(labels), rows };
            stepper.accumulate(batch, step);
        }
        stepper.finish(Pace { rate: 0.1, momentum: None });
    }
    stepper
}

#[test]
fn workers_and_parts_agree_with_one() {
    let check = |a: &[f32], b: &[f32], what: &str| {
        let off = a.iter().zip(b).fold(0.0, |top: f32, (a, b)| top.max((a - b).abs()));
        assert!(off < 1e-5, "{what}: {off}");
    };
    for spec in specs() {
        let one = trained(&spec, &[], 1);
        assert_eq!(one.weights(), trained(&spec, &[], 1).weights(), "the same bits");
        let two = trained(&spec, &[0, 0], 1);
        assert_eq!(two.weights(), trained(&spec, &[0, 0], 1).weights(), "the same bits");
        check(one.weights(), two.weights(), "two workers");
        if spec.dropout == 0.0 && spec.attention_dropout == 0.0 {
            check(one.weights(), trained(&spec, &[], 2).weights(), "two parts");
        }
    }
}

#[test]
fn models_answer_as_the_trained_network() {
    for spec in specs() {
        let stepper = trained(&spec, &[], 1);
        let rows = texts(&spec, 9);
        let mut pass = Pass::new(Isa::detect(), stepper.net());
        let (scores, _) = pass.forward(stepper.net(), stepper.weights(), &rows, 9, None);
        truststram_model::kernels::softmax_rows(Isa::detect(), scores, OUTPUTS);
        let classes = ["a", "b", "c"].map(str::to_owned).into();
        let data = crate::Dataset {
            features: rows.clone(),
            labels: vec![0; 9],
            values: Vec::new(),
            feature_count: spec.length_max,
            classes,
            packed: None,
        };
        let preprocessing = truststram_model::Preprocessing { mean: Vec::new(), scale: Vec::new() };
        let model = export(&stepper, Loss::CrossEntropy, &data, preprocessing).unwrap();
        assert!(matches!(model, Exported::Graph(_)));
        let artifact =
            truststram_model::artifact::Artifact::parse(&model.to_bytes().unwrap()).unwrap();
        let program = Program::build(&artifact.graph, &BuildOptions::default()).unwrap();
        let mut session = Session::new(Arc::new(program));
        let texts = tokens_of(&spec, &rows);
        let mut offsets = vec![0_u32];
        for text in &texts {
            offsets.push(offsets[offsets.len() - 1] + text.len() as u32);
        }
        let tokens = texts.concat();
        let kinds = vec![0; tokens.len()];
        let given = [tokens, offsets, kinds].into_iter().take(artifact.graph.inputs.len());
        for (index, values) in given.enumerate() {
            let shape = Shape::new(&[values.len()]).unwrap();
            session.input_mut(index).reset_as::<u32>(shape).copy_from_slice(&values);
        }
        session.run(&Alone, None).unwrap();
        let found = session.output(0).unwrap().values::<f32>().unwrap().to_vec();
        assert_eq!(found.len(), scores.len());
        for (found, expected) in found.iter().zip(scores.iter()) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let check = |change: &dyn Fn(&mut EncoderSpec), expected: &str| {
        let mut spec = spec();
        change(&mut spec);
        let layers = vec![LayerSpec::Encoder(Box::new(spec))];
        let error =
            Net::new(&NetSpec { layers, ..NetSpec::default() }, 7, 3).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&|spec| spec.vocabulary = 0, "vocabulary");
    check(&|spec| spec.length_max = 8, "length_max");
    check(&|spec| spec.layers = 65, "layers");
    check(&|spec| spec.heads = 4, "heads");
    check(&|spec| spec.hidden = 0, "hidden");
    check(&|spec| spec.feed_forward = usize::MAX, "feed_forward");
    check(&|spec| spec.dropout = 1.0, "dropout");
    check(&|spec| spec.attention_dropout = 1.0, "attention_dropout");
    check(&|spec| spec.epsilon = f32::NAN, "epsilon");
    check(&|spec| spec.padding = Some(1), "padding");
    check(&|spec| (spec.vocabulary, spec.hidden, spec.heads) = (1 << 22, 8192, 1), "fewer weights");
}
