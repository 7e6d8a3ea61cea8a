//! Owns the comparison of an encoder's loss and gradients with those of PyTorch.
//!
//! Refuses to make the answers: tests/golden/make_encoder_training.py does. Bound: four texts.

use serde::Deserialize;
use truststram_model::kernels::Isa;

use super::*;
use crate::loss::{Loss, Targets};
use crate::net::{LayerSpec, Net, NetSpec, Pass};

const GOLDEN: &str = include_str!("../../../../tests/golden/training/encoder.json");

#[derive(Deserialize)]
struct Case {
    vocabulary: usize,
    length_max: usize,
    hidden: usize,
    layers: usize,
    heads: usize,
    feed_forward: usize,
    classes: usize,
    epsilon: f32,
    tokens: Vec<f32>,
    labels: Vec<u32>,
    loss: f64,
    weights: Vec<f32>,
    gradients: Vec<f32>,
}

#[test]
fn loss_and_gradients_are_those_of_pytorch() {
    let case: Case = serde_json::from_str(GOLDEN).unwrap();
    let spec = EncoderSpec {
        vocabulary: case.vocabulary,
        length_max: case.length_max,
        hidden: case.hidden,
        layers: case.layers,
        heads: case.heads,
        feed_forward: case.feed_forward,
        activation: EncoderActivation::Gelu,
        pooling: EncoderPooling::Mean,
        dropout: 0.0,
        attention_dropout: 0.0,
        recompute: false,
        epsilon: case.epsilon,
        position_first: 0,
        padding: None,
        types: 0,
    };
    let layers = vec![LayerSpec::Encoder(Box::new(spec))];
    let net =
        Net::new(&NetSpec { layers, ..NetSpec::default() }, case.length_max, case.classes).unwrap();
    assert_eq!(net.weight_count(), case.weights.len());
    let (isa, rows) = (Isa::detect(), case.labels.len());
    let mut pass = Pass::new(isa, &net);
    let (given, above) = pass.forward(&net, &case.weights, &case.tokens, rows, None);
    let targets = Targets::Classes(&case.labels);
    let sums = Loss::CrossEntropy.compute(isa, case.classes, given, targets, &[], above);
    pass.backward(&net, &case.weights, &case.tokens, rows, false);
    assert!((sums.mean() - case.loss).abs() < 1e-5, "{} {}", sums.mean(), case.loss);
    for (index, (found, expected)) in pass.gradients.iter().zip(&case.gradients).enumerate() {
        let found = found / rows as f32;
        assert!((found - expected).abs() < 2e-5, "{index}: {found} {expected}");
    }
}
