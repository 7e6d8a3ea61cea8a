//! The operator in graphs: all precisions, and what is refused.

use crate::graph::{Attribute, Graph, Node, Port};
use crate::program::{BuildOptions, Program, evaluate};
use crate::tensor::{DType, Tensor};

/// x `[.., 2]` by the weights `[[1, 2], [-1, 0.5], [0, 4]]` and what else is given.
fn graph(weight: Tensor, others: &[Option<Tensor>], attributes: &[(&str, Attribute)]) -> Graph {
    let mut graph = Graph { opset: 18, ..Graph::default() };
    let x = graph.add_value("x");
    let mut inputs = vec![Some(x), Some(graph.add_constant("w", weight))];
    for (index, other) in others.iter().enumerate() {
        let constant = |tensor: &Tensor| graph.add_constant(format!("c{index}"), tensor.clone());
        inputs.push(other.as_ref().map(constant));
    }
    let y = graph.add_value("y");
    let mut node = Node::own("Linear", inputs, vec![y]);
    for (name, attribute) in attributes {
        node = node.with(name, attribute.clone());
    }
    graph.nodes.push(node);
    let port = |value| Port { value, dtype: DType::F32, dims: None };
    (graph.inputs, graph.outputs) = (vec![port(x)], vec![port(y)]);
    graph
}

fn text(value: &str) -> Attribute {
    Attribute::String(value.to_owned())
}

fn weight() -> Tensor {
    Tensor::of(&[3, 2], vec![1.0_f32, 2.0, -1.0, 0.5, 0.0, 4.0]).unwrap()
}

/// The same weights in bf16, which holds them exactly.
fn halves() -> Tensor {
    let weight = weight();
    let values = weight.values::<f32>().unwrap().iter().map(|w| half::bf16::from_f32(*w));
    Tensor::of(&[3, 2], values.collect()).unwrap()
}

fn bias() -> Option<Tensor> {
    Tensor::of(&[3], vec![0.5_f32, 0.0, -1.0])
}

#[test]
fn every_precision_computes_the_layer() {
    fn check(graph: &Graph, expected: [f32; 6], error: f32) {
        for dims in [vec![2, 2], vec![1, 2, 2], vec![2, 1, 1, 2]] {
            let x = Tensor::of(&dims, vec![1.0_f32, 2.0, -3.0, 4.0]).unwrap();
            let found = evaluate(graph, &BuildOptions::default(), vec![x]).unwrap();
            let mut shape = dims.clone();
            *shape.last_mut().unwrap() = 3;
            assert_eq!(found[0].shape()[..], shape);
            for (found, expected) in found[0].values::<f32>().unwrap().iter().zip(expected) {
                assert!((found - expected).abs() <= error, "{found} {expected}");
            }
        }
    }
    let plain = [5.0, 0.0, 8.0, 5.0, 5.0, 16.0];
    check(&graph(weight(), &[], &[]), plain, 0.0);
    let turned = Tensor::of(&[2, 3], vec![1.0_f32, -1.0, 0.0, 2.0, 0.5, 4.0]).unwrap();
    check(&graph(turned, &[], &[("transposed", Attribute::Int(1))]), plain, 0.0);
    let with_bias = [5.5, 0.0, 7.0, 5.5, 5.0, 15.0];
    check(&graph(weight(), &[bias()], &[("activation", text("relu"))]), with_bias, 0.0);
    check(&graph(weight(), &[bias()], &[("precision", text("bf16"))]), with_bias, 0.0);
    check(&graph(halves(), &[bias()], &[("precision", text("bf16"))]), with_bias, 0.0);
    check(&graph(weight(), &[bias()], &[("precision", text("int8"))]), with_bias, 0.1);
    let attributes = [
        ("precision", text("int8")),
        ("input_scale", Attribute::Float(0.5)),
        ("input_zero_point", Attribute::Int(6)),
    ];
    let quantised = Tensor::of(&[3, 2], vec![2_i8, 4, -2, 1, 0, 8]).unwrap();
    let scale = Some(Tensor::scalar(0.5_f32));
    check(&graph(quantised.clone(), &[bias(), scale], &attributes), with_bias, 0.0);
    let scales = Tensor::of(&[3], vec![0.5_f32, 0.5, 0.25]);
    let halved = [5.0, 0.0, 4.0, 5.0, 5.0, 8.0];
    check(&graph(quantised, &[None, scales], &attributes), halved, 0.0);
}

#[test]
fn what_is_not_exactly_known_is_refused() {
    fn check(weight: Tensor, others: &[Option<Tensor>], attributes: &[(&str, Attribute)]) {
        let graph = graph(weight, others, attributes);
        let x = Tensor::of(&[1, 2], vec![1.0_f32, 2.0]).unwrap();
        let refused = evaluate(&graph, &BuildOptions::default(), vec![x]).unwrap_err();
        assert!(refused.to_string().contains("truststram.Linear"), "{refused}");
    }
    check(weight(), &[], &[("beta", Attribute::Int(1))]);
    check(weight(), &[], &[("transposed", Attribute::Int(2))]);
    check(weight(), &[], &[("activation", text("leaky_relu"))]);
    check(weight(), &[], &[("activation", text("relu")), ("alpha", Attribute::Float(0.1))]);
    check(weight(), &[], &[("precision", text("f16"))]);
    check(weight(), &[], &[("input_scale", Attribute::Float(1.0))]);
    let int8 = ("precision", text("int8"));
    check(weight(), &[], &[int8.clone(), ("input_scale", Attribute::Float(1.0))]);
    check(weight(), &[None, bias()], &[int8]);
    check(weight(), &[Tensor::of(&[2], vec![0.0_f32; 2])], &[]);
    check(halves(), &[], &[]);
    check(halves(), &[], &[("precision", text("int8"))]);
    check(weight(), &[], &[("rank", Attribute::Int(0))]);
    check(weight(), &[], &[("rank", Attribute::Int(9))]);
    check(Tensor::of(&[6], vec![0.0_f32; 6]).unwrap(), &[], &[]);
    check(Tensor::of(&[3, 2], vec![0_i8; 6]).unwrap(), &[], &[]);
    check(Tensor::of(&[3, 2], vec![0_i64; 6]).unwrap(), &[], &[]);
    let graph = graph(weight(), &[], &[]);
    for dims in [vec![], vec![3], vec![2, 3]] {
        let x = Tensor::of(&dims, vec![0.0_f32; dims.iter().product()]).unwrap();
        assert!(evaluate(&graph, &BuildOptions::default(), vec![x]).is_err(), "{dims:?}");
    }
}

#[test]
fn packed_weights_count_as_memory() {
    for precision in ["f32", "bf16", "int8"] {
        let graph = graph(weight(), &[bias()], &[("precision", text(precision))]);
        let memory = Program::build(&graph, &BuildOptions::default()).unwrap().memory();
        // Six weights of a byte at least, in pages of their own, and three numbers of bias.
        assert!(memory.bytes() - memory.heap_bytes >= 6, "{precision}: {memory:?}");
        assert!(memory.heap_bytes >= 12, "{precision}: {memory:?}");
    }
}

#[test]
fn other_dimensions_than_asked_for_are_refused() {
    let graph = graph(weight(), &[], &[("rank", Attribute::Int(2))]);
    for (dims, is_taken) in
        [(&[2][..], false), (&[1, 2], true), (&[0, 2], true), (&[1, 1, 2], false)]
    {
        let x = Tensor::of(dims, vec![1.0_f32; dims.iter().product()]).unwrap();
        let answered = evaluate(&graph, &BuildOptions::default(), vec![x]);
        assert_eq!(answered.is_ok(), is_taken, "{dims:?}");
    }
}
