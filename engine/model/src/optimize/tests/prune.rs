//! Pruning: which weights go, to the last one.

use super::small::{answer, dense, encoder, imported, none, rows, texts};
use crate::artifact::Artifact;
use crate::graph::{Graph, Node, Port};
use crate::optimize::weights::{floats, weight_uses};
use crate::optimize::{OptimizeOptions, optimize, prune_l1};
use crate::tensor::{DType, Tensor};

fn graph(weights: &[(&[usize], &[f32])]) -> Graph {
    let mut graph = Graph { opset: 17, ..Graph::default() };
    let mut last = graph.add_value("x");
    let port = |value| Port { value, dtype: DType::F32, dims: None };
    graph.inputs.push(port(last));
    for (dims, values) in weights {
        let w = graph.add_constant("w", Tensor::of(dims, values.to_vec()).unwrap());
        let y = graph.add_value("y");
        graph.nodes.push(Node::own("Linear", vec![Some(last), Some(w)], vec![y]));
        last = y;
    }
    graph.outputs.push(port(last));
    graph
}

fn weights(graph: &Graph) -> Vec<f32> {
    let uses = weight_uses(graph);
    uses.iter().flat_map(|place| floats(graph, place.value).unwrap().to_vec()).collect()
}

#[test]
fn those_go_that_torch_takes() {
    let first = [0.5, -0.1, 0.3, -0.7, 0.2, 0.05];
    let second = [1.0, -0.15, 0.25, -0.35, 0.6, 0.0, -0.45, 0.9];
    // What `prune.global_unstructured` of torch 2.15 makes zero of the same two layers.
    for (share, expected) in [
        (0.0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]),
        (0.1, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]),
        (3.0 / 28.0, [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0]),
        (0.25, [0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0]),
        (0.5, [0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0]),
        (0.75, [1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0]),
        (1.0, [1; 14]),
    ] {
        let mut graph = graph(&[(&[2, 3], &first), (&[4, 2], &second)]);
        prune_l1::prune(&mut graph, share).unwrap();
        let found = weights(&graph);
        for ((before, after), is_zero) in first.iter().chain(&second).zip(&found).zip(expected) {
            let wanted = if is_zero == 1 { 0.0 } else { *before };
            assert_eq!(*after, wanted, "{share}");
        }
    }
}

#[test]
fn of_equal_ones_the_first_go_and_no_more_than_asked() {
    let values = [2.0, -1.0, 1.0, 1.0, -1.0, 3.0];
    for (share, expected) in [
        (1.0 / 6.0, [2.0, 0.0, 1.0, 1.0, -1.0, 3.0]),
        (0.5, [2.0, 0.0, 0.0, 0.0, -1.0, 3.0]),
        // 2.5 and 3.5 of six, rounded half to even.
        (2.5 / 6.0, [2.0, 0.0, 0.0, 1.0, -1.0, 3.0]),
        (3.5 / 6.0, [2.0, 0.0, 0.0, 0.0, 0.0, 3.0]),
        (5.0 / 6.0, [0.0, 0.0, 0.0, 0.0, 0.0, 3.0]),
    ] {
        let mut graph = graph(&[(&[2, 3], &values)]);
        prune_l1::prune(&mut graph, share).unwrap();
        assert_eq!(weights(&graph), expected, "{share}");
    }
    // NaN is no small number.
    let mut graph = graph(&[(&[1, 3], &[f32::NAN, -5.0, f32::INFINITY])]);
    prune_l1::prune(&mut graph, 1.0 / 3.0).unwrap();
    assert_eq!(weights(&graph)[1], 0.0);
}

#[test]
fn a_pruned_dense_network_is_one_still() {
    let before = dense(&[20, 40, 10]);
    let options = OptimizeOptions { prune_l1: Some(0.2), ..none() };
    let (after, report) = optimize(&before, &options, None).unwrap();
    assert_eq!(report.after().zero_share, 240.0 / 1200.0);
    assert_eq!(report.before.zero_share, 0.0);
    assert_eq!(after.dense, before.dense);
    assert_eq!(after.signature, before.signature);
    assert_eq!(after.graph.nodes.len(), before.graph.nodes.len());
    let bytes = after.to_bytes().unwrap();
    let read = Artifact::parse(&bytes).unwrap();
    let data = rows(5, 20);
    assert_eq!(answer(&read, &data), answer(&after, &data));
    assert_ne!(answer(&before, &data), answer(&after, &data));
}

#[test]
fn layers_of_imports_count_and_embeddings_do_not() {
    let options = OptimizeOptions { prune_l1: Some(0.5), ..none() };
    let (after, report) = optimize(&imported(), &options, None).unwrap();
    assert_eq!(weights(&after.graph).len(), 64 * 48 + 48 * 4);
    assert_eq!(report.after().zero_share, 0.5);
    let before = encoder();
    let (after, report) = optimize(&before, &options, Some(&texts(4))).unwrap();
    assert_eq!(report.after().zero_share, 0.5);
    // The embeddings are read as they were; the layer that shares them has its own now.
    let table = |artifact: &Artifact| {
        let id = artifact.graph.nodes[0].inputs[0].unwrap();
        floats(&artifact.graph, id).unwrap().to_vec()
    };
    assert_eq!(table(&after), table(&before));
    assert_ne!(after.graph.nodes[0].inputs[0], after.graph.nodes[3].inputs[1]);
    assert_eq!(after.graph.nodes[3].inputs[1], after.graph.nodes[4].inputs[1]);
}
