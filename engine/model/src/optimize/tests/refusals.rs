//! What is refused, and that the answer says what to do.

use std::fs;
use std::path::Path;

use super::small::{dense, encoder, imported, none, rows, texts};
use crate::artifact::{Artifact, Signature, Task};
use crate::onnx;
use crate::optimize::{DataRows, DataSet, Int8, OptimizeOptions, Ranges, TextTokens, optimize};

#[track_caller]
fn check(artifact: &Artifact, options: &OptimizeOptions, data: Option<&DataSet>, expected: &str) {
    let text = optimize(artifact, options, data).unwrap_err().to_string();
    assert!(text.contains(expected), "{text:?} does not say {expected:?}");
}

fn int8(kind: Int8) -> OptimizeOptions {
    OptimizeOptions { int8: Some(kind), ..none() }
}

/// A model of scikit-learn, as its converter writes it.
fn of_scikit_learn(case: &str, classes: &[&str]) -> Artifact {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/sklearn");
    let graph =
        onnx::parse(&fs::read(folder.join(case).join("model.onnx")).unwrap()).unwrap().graph;
    let classes = classes.iter().map(|class| (*class).to_owned()).collect();
    let task = Task::Classify { classes, probabilities: 1, label: Some(0) };
    let signature = Signature::of_graph(&graph, task, true).unwrap();
    Artifact { graph, signature, tokenizer: None, dense: None, samples: Vec::new() }
}

#[test]
fn settings_that_cannot_be() {
    let model = dense(&[8, 32, 3]);
    let data = rows(4, 8);
    check(&model, &none(), Some(&data), "no step is asked for");
    for share in [-0.1, 1.1, f64::NAN] {
        check(&model, &OptimizeOptions { prune_l1: Some(share), ..none() }, None, "from 0 to 1");
    }
    check(&model, &int8(Int8::Static(Ranges::MinMax)), None, "give rows that are like those");
    for percentile in [50.0, 100.5, f64::NAN] {
        let options = int8(Int8::Static(Ranges::Percentile(percentile)));
        check(&model, &options, Some(&data), "above 50 and at most 100");
    }
    let limited = |max| OptimizeOptions { bf16: true, accuracy_loss_max: Some(max), ..none() };
    check(&model, &limited(0.01), None, "cannot be measured without data");
    check(&model, &limited(-0.01), Some(&data), "from 0 to 1");
    let mut tensors = imported();
    tensors.signature.task = Task::Tensors;
    check(&tensors, &limited(0.01), Some(&rows(4, 64)), "only classes and directions");
}

#[test]
fn data_that_do_not_fit() {
    let model = dense(&[8, 32, 3]);
    let bf16 = OptimizeOptions { bf16: true, ..none() };
    let with = |change: &dyn Fn(&mut DataSet)| {
        let mut data = rows(4, 8);
        change(&mut data);
        data
    };
    let check = |data: &DataSet, expected| check(&model, &bf16, Some(data), expected);
    check(&rows(4, 7), "row 0 has 7 features, the model 8");
    check(&with(&|data| data.rows = DataRows::Features(Vec::new())), "0 rows");
    check(&with(&|data| data.labels = Some(vec![0; 3])), "3 labels of 4 rows");
    check(&with(&|data| data.labels = Some(vec![0, 1, 2, 3])), "row 3 has class 3");
    check(&texts(4), "takes rows of features");
    let mut broken = rows(4, 8);
    let DataRows::Features(values) = &mut broken.rows else { panic!() };
    values[2][7] = f32::NAN;
    check(&broken, "row 2 has a value that is not finite");
    let encoder = encoder();
    super::refusals::check(&encoder, &bf16, Some(&rows(4, 8)), "the model takes none");
    for ids in [vec![], vec![50], vec![1; 17]] {
        let text = TextTokens { ids, types: Vec::new() };
        let data = DataSet { rows: DataRows::Texts(vec![text]), labels: None };
        super::refusals::check(&encoder, &bf16, Some(&data), "1 to 16 tokens below 50");
    }
}

#[test]
fn models_without_such_layers() {
    let forest = of_scikit_learn("forest", &["0", "1"]);
    let has = "it has TreeEnsembleClassifier";
    check(&forest, &int8(Int8::Dynamic), None, has);
    check(&forest, &OptimizeOptions { prune_l1: Some(0.1), ..none() }, None, has);
    let bf16 = OptimizeOptions { bf16: true, ..none() };
    check(&forest, &bf16, None, "no linear layer");
    // Layers of 16 outputs and of one.
    let network = of_scikit_learn("network", &["0", "1"]);
    check(&network, &int8(Int8::Dynamic), None, "each of its 2 linear layers has fewer than 32");
    let (_, report) = optimize(&network, &bf16, None).unwrap();
    assert_eq!(report.layers.len(), 2);
}

#[test]
fn what_is_quantised_already() {
    let data = rows(4, 64);
    for options in [int8(Int8::Dynamic), OptimizeOptions { bf16: true, ..none() }] {
        let (model, _) = optimize(&dense(&[64, 64, 32]), &options, Some(&data)).unwrap();
        let prune = OptimizeOptions { prune_l1: Some(0.1), ..none() };
        check(&model, &prune, None, "prune the version that they were made of");
        check(&model, &int8(Int8::Dynamic), None, "no linear layer with constant weights in f32");
        check(&model, &OptimizeOptions { bf16: true, ..none() }, None, "in f32 is left");
    }
}
