//! One program in one session, again and again.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use truststram_machine::CountingAllocator;
use truststram_model::artifact::Artifact;
use truststram_model::encoder::EncoderFolder;
use truststram_model::graph::Graph;
use truststram_model::kernels::Alone;
use truststram_model::onnx;
use truststram_model::passes::optimize;
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::{DType, Shape, Tensor};

use crate::{FEATURES, dense_net};

const RUNS: usize = 100;

/// What a model takes from memory in some runs after two with the same inputs.
fn allocations(graph: &Graph, inputs: &[Tensor]) -> u64 {
    let program = Program::build(graph, &BuildOptions::default()).unwrap();
    let mut session = Session::new(Arc::new(program));
    for (index, input) in inputs.iter().enumerate() {
        *session.input_mut(index) = input.clone();
    }
    let mut run = || session.run(&Alone, None).unwrap();
    run();
    run();
    let before = CountingAllocator::allocations_of_this_thread();
    (0..RUNS).for_each(|_| run());
    CountingAllocator::allocations_of_this_thread() - before
}

#[test]
fn a_dense_network_takes_no_memory() {
    let graph = Artifact::of_dense(dense_net()).graph;
    for rows in [1, 7, 64] {
        let input = Tensor::of(&[rows, FEATURES], vec![0.25f32; rows * FEATURES]).unwrap();
        assert_eq!(allocations(&graph, &[input]), 0, "{rows} rows");
    }
}

#[test]
fn a_session_that_has_seen_the_largest_batch_takes_no_memory_for_smaller_ones() {
    let graph = Artifact::of_dense(dense_net()).graph;
    let program = Program::build(&graph, &BuildOptions::default()).unwrap();
    let mut session = Session::new(Arc::new(program));
    let mut run = |rows: usize| {
        let shape = Shape::new(&[rows, FEATURES]).unwrap();
        session.input_mut(0).reset_as::<f32>(shape).fill(0.5);
        session.run(&Alone, None).unwrap();
    };
    run(64);
    let before = CountingAllocator::allocations_of_this_thread();
    (1..=64).rev().chain(1..=64).for_each(&mut run);
    assert_eq!(CountingAllocator::allocations_of_this_thread() - before, 0);
}

#[test]
fn models_of_scikit_learn_take_no_memory() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/sklearn");
    let mut wrong = Vec::new();
    for name in [
        "boosting",
        "boosting_regressor",
        "extra_trees",
        "forest",
        "forest_regressor",
        "hist_boosting",
        "isolation",
        "linear_regression",
        "network",
        "scaled_logistic",
        "svc",
        "svr",
        "tree",
        "tree_regressor",
    ] {
        let read = |file: &str| fs::read(folder.join(name).join(file)).unwrap();
        let graph = onnx::parse(&read("model.onnx")).unwrap().graph;
        let fused = optimize(graph.clone(), &BuildOptions::default()).unwrap();
        let input = onnx::tensor(&read("input_0.pb")).unwrap().1;
        for (graph, what) in [(graph, "as it is"), (fused, "fused")] {
            let taken = allocations(&graph, std::slice::from_ref(&input));
            if taken > 0 {
                wrong.push(format!("{name}, {what}: {taken} in {RUNS} runs"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn encoders_take_no_memory() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/encoder");
    for name in ["bert_mean", "distilbert_classes", "roberta_classes"] {
        let files = [
            "config.json",
            "tokenizer.json",
            "model.safetensors",
            "modules.json",
            "sentence_bert_config.json",
            "1_Pooling/config.json",
        ];
        let read = |file| fs::read(folder.join(name).join(file)).ok().map(|bytes| (file, bytes));
        let files: Vec<(&str, Vec<u8>)> = files.into_iter().filter_map(read).collect();
        let files = files.iter().map(|(file, bytes)| (*file, bytes.as_slice()));
        let artifact = EncoderFolder::new(files).parse().unwrap();
        // Two texts, of 2 and of 5 tokens.
        let values: [&[i64]; 3] = [&[1, 2, 3, 4, 5, 6, 7], &[0, 2, 7], &[0; 7]];
        let inputs = artifact.signature.inputs.iter().zip(values).map(|(port, values)| {
            let dims = [values.len()];
            let narrow = || values.iter().map(|value| *value as u32);
            let tensor = match port.dtype {
                DType::I64 => Tensor::of(&dims, values.to_vec()),
                DType::I32 => Tensor::of(&dims, narrow().map(|value| value as i32).collect()),
                _ => Tensor::of(&dims, narrow().collect()),
            };
            tensor.unwrap()
        });
        let inputs: Vec<Tensor> = inputs.collect();
        assert_eq!(allocations(&artifact.graph, &inputs), 0, "{name}");
    }
}
