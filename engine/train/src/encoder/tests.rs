//! Gradients of encoders against finite differences of a plain one in f64, that computing values
//! anew, workers and parts change nothing, and that models answer as the trained network does.

use std::sync::Arc;

use truststram_model::kernels::{Alone, Isa};
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::Shape;

use super::dropping::drop_out;
use super::*;
use crate::export::{Exported, export};
use crate::loss::{Loss, Targets};
use crate::net::{Dropping, LayerActivation, LayerSpec, Net, NetSpec, Pass, Place};
use crate::random::Random;
use crate::step::{Batch, StepOptions, Stepper};
use crate::{OptimiserSpec, Pace};

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
        EncoderSpec { recompute: true, dropout: 0.1, ..marked },
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

struct Plain<'a> {
    encoder: &'a Encoder,
    weights: &'a [f64],
    /// Factors of what is left out at each site, for all tokens.
    kept: &'a [Vec<f64>],
}

impl Plain<'_> {
    fn linear(&self, place: &Place, x: &[f64]) -> Vec<f64> {
        let rows = self.weights[place.weight.clone()].chunks_exact(x.len());
        let sum = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        rows.zip(&self.weights[place.bias.clone()]).map(|(row, bias)| sum(row) + bias).collect()
    }

    fn norm(&self, place: &Place, x: &[f64]) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (variance + f64::from(self.encoder.spec.epsilon)).sqrt();
        let gamma = &self.weights[place.weight.clone()];
        let pairs = gamma.iter().zip(&self.weights[place.bias.clone()]);
        x.iter().zip(pairs).map(|(x, (gamma, beta))| (x - mean) * scale * gamma + beta).collect()
    }

    fn bend(&self, x: f64) -> f64 {
        let tanh = |cube: f64| 0.5 * x * (1.0 + (0.797_884_560_802_865_4 * cube).tanh());
        match self.encoder.spec.activation {
            // The error function by its integral, Simpson's rule.
            EncoderActivation::Gelu => {
                let top = x / std::f64::consts::SQRT_2;
                let at = |part: f64| (-(part * top).powi(2)).exp();
                let steps = 400;
                let sum: f64 = (0..steps)
                    .map(|step| {
                        let (from, to) = (f64::from(step), f64::from(step + 1));
                        let of = |place: f64| at(place / f64::from(steps));
                        (of(from) + 4.0 * of((from + to) / 2.0) + of(to)) / 6.0
                    })
                    .sum();
                let erf = std::f64::consts::FRAC_2_SQRT_PI * top * sum / f64::from(steps);
                0.5 * x * (1.0 + erf)
            }
            EncoderActivation::GeluTanh => tanh(x + 0.044_715 * x.powi(3)),
            EncoderActivation::Relu => x.max(0.0),
            EncoderActivation::Silu => x / (1.0 + (-x).exp()),
            EncoderActivation::Tanh => x.tanh(),
        }
    }

    fn attention(&self, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let EncoderSpec { hidden, heads, .. } = self.encoder.spec;
        let size = hidden / heads;
        let mut out = vec![vec![0.0; hidden]; rows.len()];
        for head in 0..heads {
            let part =
                |row: &[f64], kind: usize| row[kind * hidden + head * size..][..size].to_vec();
            for (query, out) in rows.iter().zip(&mut out) {
                let query = part(query, 0);
                let score = |key: &Vec<f64>| -> f64 {
                    let key = part(key, 1);
                    query.iter().zip(&key).map(|(q, k)| q * k).sum::<f64>() / (size as f64).sqrt()
                };
                let shares: Vec<f64> = rows.iter().map(|key| score(key).exp()).collect();
                let total: f64 = shares.iter().sum();
                for (share, row) in shares.iter().zip(rows) {
                    let value = part(row, 2);
                    let to = out[head * size..].iter_mut().zip(value);
                    to.for_each(|(to, value)| *to += share / total * value);
                }
            }
        }
        out
    }

    /// The pooled row of a text whose first token is `start` in all.
    fn text(&self, tokens: &[u32], start: usize) -> Vec<f64> {
        let spec = &self.encoder.spec;
        let hidden = spec.hidden;
        let kept = |site: usize, place: usize| &self.kept[site][(start + place) * hidden..];
        let mut counted = 0;
        let mut rows = Vec::new();
        for (place, token) in tokens.iter().enumerate() {
            let position = match spec.padding == Some(*token) {
                true => spec.position_first - 1,
                false => {
                    counted += 1;
                    spec.position_first + counted - 1
                }
            };
            let row = |start: usize, index: usize| &self.weights[start + index * hidden..];
            let word = row(self.encoder.words.start, *token as usize);
            let position = row(self.encoder.positions.start, position);
            let kind = row(self.encoder.types.start, 0);
            let sum = (0..hidden).map(|at| {
                let kind = if spec.types > 0 { kind[at] } else { 0.0 };
                word[at] + position[at] + kind
            });
            let row = self.norm(&self.encoder.norm, &sum.collect::<Vec<_>>());
            rows.push(row.iter().zip(kept(0, place)).map(|(x, kept)| x * kept).collect());
        }
        for (index, layer) in self.encoder.layers.iter().enumerate() {
            let qkv: Vec<Vec<f64>> =
                rows.iter().map(|row: &Vec<f64>| self.linear(&layer.qkv, row)).collect();
            let context = self.attention(&qkv);
            for (place, (row, context)) in rows.iter_mut().zip(context).enumerate() {
                let sum = |out: Vec<f64>, site: usize, row: &[f64]| -> Vec<f64> {
                    let kept = out.iter().zip(kept(site, place)).map(|(x, kept)| x * kept);
                    kept.zip(row).map(|(x, row)| x + row).collect()
                };
                let out = self.linear(&layer.output, &context);
                let middle = self.norm(&layer.output_norm, &sum(out, 2 * index + 1, row));
                let up = self.linear(&layer.up, &middle);
                let active: Vec<f64> = up.into_iter().map(|x| self.bend(x)).collect();
                let down = self.linear(&layer.down, &active);
                *row = self.norm(&layer.norm, &sum(down, 2 * index + 2, &middle));
            }
        }
        match spec.pooling {
            EncoderPooling::First => rows.swap_remove(0),
            EncoderPooling::Mean => {
                let mean = |at: usize| rows.iter().map(|row| row[at]).sum::<f64>();
                (0..hidden).map(|at| mean(at) / rows.len() as f64).collect()
            }
        }
    }

    /// The whole network.
    fn answers(&self, net: &Net, texts: &[Vec<u32>]) -> Vec<f64> {
        let mut start = 0;
        let mut all = Vec::new();
        for tokens in texts {
            let mut row = self.text(tokens, start);
            start += tokens.len();
            for layer in &net.layers[1..] {
                let crate::net::Layer::Dense { place, activation, .. } = layer else {
                    panic!("a head of dense layers");
                };
                row = self.linear(place, &row);
                if *activation == LayerActivation::Tanh {
                    row.iter_mut().for_each(|x| *x = x.tanh());
                }
            }
            all.extend(row);
        }
        all
    }
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
        let plain =
            |weights: &[f64]| Plain { encoder, weights, kept: &kept }.answers(&net, &tokens);
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
        if spec.dropout == 0.0 {
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
    check(&|spec| spec.epsilon = f32::NAN, "epsilon");
    check(&|spec| spec.padding = Some(1), "padding");
    check(&|spec| (spec.vocabulary, spec.hidden, spec.heads) = (1 << 22, 8192, 1), "fewer weights");
}
