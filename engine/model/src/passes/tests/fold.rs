//! Constants that are computed, and nodes that are left out.

use super::small::Small;
use crate::graph::{Attribute, Node};
use crate::passes::optimize;
use crate::program::BuildOptions;

#[test]
fn what_is_constant_is_computed() {
    let mut small = Small::new(17);
    let x = small.input(&[0, 4]);
    let (left, right) = (small.weights(&[2, 2]), small.weights(&[2]));
    let sum = small.node("Add", &[left, right]);
    let product = small.node("Mul", &[sum, left]);
    let shape = small.constant(&[1], vec![4i64]);
    let row = small.node("Reshape", &[product, shape]);
    let y = small.node("Sub", &[x, row]);
    let left = small.check(y, &[&[3, 4]], &["Sub"]);
    // The input, the constant that is left, the result.
    assert_eq!(left.values.len(), 3);
}

#[test]
fn shapes_of_inputs_are_constant_where_they_are_fixed() {
    for (dims, start, left) in [
        (&[2, 3, 4][..], None, &["Reshape"][..]),
        (&[2, 3, 4], Some(-1), &["Reshape"]),
        (&[0, 3, 4], None, &["Shape", "Concat", "Reshape"]),
    ] {
        let mut small = Small::new(17);
        let x = small.input(dims);
        let start = start.map(|start| ("start", Attribute::Int(start)));
        let shape = small.node_with("Shape", &[x], start.as_slice());
        let more = small.constant(&[1], vec![1i64]);
        let rest = small.constant(&[1], vec![-1i64]);
        let both = match start {
            None => small.node_with("Concat", &[shape, more], &[("axis", Attribute::Int(0))]),
            Some(_) => small.node_with("Concat", &[rest, shape], &[("axis", Attribute::Int(0))]),
        };
        let y = small.node("Reshape", &[x, both]);
        small.check(y, &[&[2, 3, 4]], left);
    }
}

#[test]
fn a_whole_answer_may_be_constant() {
    let mut small = Small::new(17);
    let one = small.weights(&[3]);
    let y = small.node("Abs", &[one]);
    small.check(y, &[], &[]);
}

#[test]
fn what_would_be_too_large_is_left() {
    let mut small = Small::new(17);
    let x = small.input(&[1]);
    let shape = small.constant(&[1], vec![100i64 << 20]);
    let large = small.node("ConstantOfShape", &[shape]);
    let index = small.constant(&[1], vec![5i64]);
    let few = small.node("Gather", &[large, index]);
    let y = small.node("Add", &[x, few]);
    small.output(y);
    let left = optimize(small.0, &BuildOptions::default()).unwrap();
    assert_eq!(left.nodes.len(), 3);
}

#[test]
fn what_stops_is_left_to_the_run() {
    let mut small = Small::new(17);
    let x = small.input(&[1]);
    let (left, right) = (small.weights(&[2]), small.weights(&[3]));
    let wrong = small.node("Add", &[left, right]);
    let y = small.node("Add", &[x, wrong]);
    small.output(y);
    let left = optimize(small.0, &BuildOptions::default()).unwrap();
    assert_eq!(left.nodes.len(), 2);
}

#[test]
fn idle_nodes_are_left_out() {
    // Between two others; before an output, which keeps its name; twice in a row.
    for idle_count in 1..3 {
        let mut small = Small::new(17);
        let x = small.input(&[0]);
        let mut value = small.node("Abs", &[x]);
        for _ in 0..idle_count {
            value = small.node("Identity", &[value]);
        }
        let y = small.node("Neg", &[value]);
        small.output(value);
        small.check(y, &[&[3]], &["Abs", "Neg"]);
    }
    // An input or a value that is wanted itself needs a copy to have another name.
    let mut small = Small::new(17);
    let x = small.input(&[0]);
    let y = small.node("Identity", &[x]);
    small.check(y, &[&[3]], &["Identity"]);
    let mut small = Small::new(17);
    let x = small.input(&[0]);
    let first = small.node("Abs", &[x]);
    let y = small.node("Identity", &[first]);
    small.output(first);
    small.check(y, &[&[3]], &["Abs", "Identity"]);
}

#[test]
fn dropout_is_idle_outside_of_training() {
    for (training, left) in
        [(None, &["Abs"][..]), (Some(false), &["Abs"]), (Some(true), &["Abs", "Dropout"])]
    {
        let mut small = Small::new(17);
        let x = small.input(&[0]);
        let ratio = small.constant(&[], vec![0.5f32]);
        let mut inputs = vec![x, ratio];
        if let Some(training) = training {
            inputs.push(small.constant(&[], vec![training]));
        }
        let dropped = small.node("Dropout", &inputs);
        let y = small.node("Abs", &[dropped]);
        small.output(y);
        let graph = optimize(small.0, &BuildOptions::default()).unwrap();
        let mut operators: Vec<&str> =
            graph.nodes.iter().map(|node| node.operator.as_str()).collect();
        operators.sort();
        assert_eq!(operators, left);
    }
}

#[test]
fn pruning_keeps_what_is_read() {
    let mut small = Small::new(17);
    let x = small.input(&[0]);
    let unread = small.input(&[0]);
    let dead = small.node("Abs", &[x]);
    small.node("Neg", &[dead]);
    let y = small.node("Abs", &[x]);
    let mask = small.0.add_value("mask");
    small.0.nodes[2].outputs.push(Some(mask));
    let mut graph = small.0;
    graph.outputs.push(graph.inputs[0].clone());
    graph.outputs[0].value = y;
    graph.prune();
    graph.validate().unwrap();
    let Node { inputs, outputs, .. } = &graph.nodes[0];
    assert_eq!((graph.nodes.len(), graph.values.len(), graph.inputs.len()), (1, 3, 2));
    assert_eq!(inputs[0], Some(graph.inputs[0].value));
    assert_eq!(outputs[..], [Some(graph.outputs[0].value), None]);
    let names = |index: usize| graph.value(graph.inputs[index].value).name.as_str();
    assert_eq!((names(0), names(1)), ("input 0", "input 1"));
    assert_eq!((x.0, unread.0), (0, 1));
}
