//! Models that come back from their files, and are trained on as they are served.

use super::*;
use crate::data::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, digits};
use crate::local::{LocalTrainer, LocalWork, local_sgd};

fn cnn() -> NetSpec {
    let conv = |channels| LayerSpec::Conv {
        channels,
        kernel: 3,
        padding: 1,
        activation: LayerActivation::Relu,
    };
    let dense = LayerSpec::Dense { outputs: 24, activation: LayerActivation::Tanh };
    let pool = LayerSpec::MaxPool { size: 2 };
    let layers = vec![conv(6), pool.clone(), conv(8), pool, dense];
    NetSpec { image: Some([8, 8, 1]), layers, ..NetSpec::default() }
}

#[test]
fn a_model_is_what_its_file_says() {
    let rows = digits().unwrap();
    let tanh = LayerSpec::Dense { outputs: 5, activation: LayerActivation::Tanh };
    let bent = NetSpec { layers: vec![tanh], ..NetSpec::default() };
    for net in [NetSpec::dense(&[]), NetSpec::dense(&[16, 12]), bent, cnn()] {
        let model = Trainable::untrained(&rows, &net, 3).unwrap();
        let bytes = model.with(&model.weights()).unwrap().to_bytes().unwrap();
        let read = Trainable::parse(&bytes).unwrap();
        assert_eq!((&read.net, &read.classes), (&net, &rows.classes));
        assert_eq!((read.tensors(), read.weights()), (model.tensors(), model.weights()));
        assert_eq!(read.with(&read.weights()).unwrap().to_bytes().unwrap(), bytes);
        // Each tensor is in the file by its name, in its shape.
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
        let header: serde_json::Value = serde_json::from_str(&header).unwrap();
        for WeightTensor { name, shape } in read.tensors() {
            assert_eq!(header[name]["shape"], serde_json::json!(shape), "{name}");
            assert_eq!(header[name]["dtype"], "F32");
        }
        read.with(&read.weights()[1..]).unwrap_err();
    }
}

#[test]
fn a_convolutional_net_is_trained_on_as_it_is_served() {
    let split = digits().unwrap().split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED);
    let model = Trainable::untrained(&split.train, &cnn(), 3).unwrap();
    let shapes: Vec<&[usize]> = model.tensors().iter().map(|it| it.shape.as_slice()).collect();
    let [first, _, second, ..] = shapes[..] else { panic!("{shapes:?}") };
    assert_eq!((first, second), (&[6, 1, 3, 3][..], &[8, 6, 3, 3][..]));
    let mut trainer = LocalTrainer::new(&model, &split.train, local_sgd(0.05)).unwrap();
    let (mut weights, mut losses) = (model.weights(), Vec::new());
    for seed in 0..12 {
        // Each piece of work begins with the weights as the file has them.
        let work = LocalWork { epochs: 1, batch_size: 16, seed };
        let outcome = trainer.train(&weights, work, &mut || true).unwrap().unwrap();
        weights = outcome.weights;
        losses.push(outcome.loss);
    }
    assert!(losses[..4].is_sorted_by(|a, b| a > b), "{losses:?}");
    let accuracy = model.accuracy(&weights, &split.held_out).unwrap();
    assert!(accuracy > 0.93, "{accuracy}");
}

#[test]
fn other_models_are_refused() {
    let mut rows = digits().unwrap();
    let model = Trainable::untrained(&rows, &cnn(), 1).unwrap();
    let Exported::Graph(artifact) = model.with(&model.weights()).unwrap() else {
        panic!("{model:?}")
    };
    let check = |change: &dyn Fn(&mut Artifact)| {
        let mut other = (*artifact).clone();
        change(&mut other);
        let error = Trainable::of_graph(other).unwrap_err().to_string();
        assert!(error.contains("trained here") || error.contains("net."), "{error}");
    };
    check(&|other| other.signature.task = Task::Regress);
    check(&|other| drop(other.graph.nodes.remove(0)));
    check(&|other| drop(other.graph.nodes.pop()));
    check(&|other| other.graph.nodes[3].operator = "ConvTranspose".to_owned());
    rows.feature_count = 0;
    Trainable::untrained(&rows, &cnn(), 1).unwrap_err();
    assert!(Trainable::parse(b"no model").is_err());
}
