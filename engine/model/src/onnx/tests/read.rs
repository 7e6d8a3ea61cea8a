//! What is read, and what is refused and how.

use half::{bf16, f16};

use super::writer::{Message, graph, message, model, node, port, tensor};
use crate::error::ModelError;
use crate::graph::{Attribute, Dim};
use crate::onnx::parse;
use crate::tensor::Tensor;

/// A model of nodes between `x` and `y`.
fn small(nodes: impl IntoIterator<Item = Message>) -> Message {
    model(17, graph(nodes))
}

/// A Relu with one more field.
fn relu(more: impl FnOnce(Message) -> Message) -> Message {
    small([more(node("Relu", &["x"], &["y"]))])
}

/// An attribute of a type.
fn attribute(name: &str, kind: i64) -> Message {
    message().bytes(1, name).int(20, kind)
}

#[track_caller]
fn check_tensor(message: Message, wanted: Result<Tensor, &str>) {
    match (crate::onnx::tensor(&message.0), wanted) {
        (Ok((_, found)), Ok(wanted)) => assert_eq!(found, wanted),
        (Err(error), Err(words)) => {
            assert!(error.to_string().contains(words), "{error}, expected {words}");
        }
        (found, wanted) => panic!("{found:?}, expected {wanted:?}"),
    }
}

#[test]
fn tensors_are_read_from_every_field() {
    let of = |values: Vec<f32>| Ok(Tensor::of(&[2], values).unwrap());
    let raw = [1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat();
    check_tensor(tensor("a", 1, &[2]).bytes(9, &raw), of(vec![1.5, -2.0]));
    check_tensor(tensor("a", 1, &[2]).bytes(4, &raw), of(vec![1.5, -2.0]));
    check_tensor(tensor("a", 1, &[2]).float(4, 1.5).float(4, -2.0), of(vec![1.5, -2.0]));
    check_tensor(tensor("a", 7, &[]).packed(7, &[-3]), Ok(Tensor::scalar(-3i64)));
    check_tensor(tensor("a", 3, &[]).int(5, -3), Ok(Tensor::scalar(-3i8)));
    check_tensor(tensor("a", 12, &[]).int(11, 1 << 31), Ok(Tensor::scalar(1u32 << 31)));
    check_tensor(tensor("a", 13, &[]).int(11, -1), Ok(Tensor::scalar(u64::MAX)));
    check_tensor(tensor("a", 9, &[]).int(5, 1), Ok(Tensor::scalar(true)));
    check_tensor(tensor("a", 9, &[]).bytes(9, [1]), Ok(Tensor::scalar(true)));
    check_tensor(tensor("a", 10, &[]).int(5, 0x3e00), Ok(Tensor::scalar(f16::from_f32(1.5))));
    check_tensor(
        tensor("a", 16, &[]).bytes(9, [0xc0, 0x3f]),
        Ok(Tensor::scalar(bf16::ONE * bf16::from_f32(1.5))),
    );
    check_tensor(tensor("a", 8, &[]).bytes(6, "ü"), Ok(Tensor::scalar("ü".to_owned())));
    check_tensor(tensor("a", 11, &[]).bytes(10, 0.1f64.to_le_bytes()), Ok(Tensor::scalar(0.1f64)));
    check_tensor(tensor("a", 1, &[0, 3]), Ok(Tensor::of::<f32>(&[0, 3], vec![]).unwrap()));
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    for (message, words) in [
        (tensor("a", 1, &[3]).bytes(9, [0; 8]), "2 values"),
        (tensor("a", 1, &[2]).bytes(9, [0; 7]), "7 bytes"),
        (tensor("a", 1, &[1]).bytes(9, [0; 4]).float(4, 1.0), "two fields"),
        (tensor("a", 1, &[1]).int(5, 1), "field 5"),
        (tensor("a", 1, &[-1]), "-1"),
        (tensor("a", 1, &[1 << 31, 1 << 31, 1 << 31, 0]), "0 values"),
        (tensor("a", 1, &[1; 9]).float(4, 1.0), "more dimensions"),
        (tensor("a", 3, &[]).int(5, 128), "128"),
        (tensor("a", 9, &[]).bytes(9, [2]), "0 and 1"),
        (tensor("a", 8, &[]).bytes(9, "text"), "texts as raw bytes"),
        (tensor("a", 8, &[]).bytes(6, [0xff]), "UTF-8"),
        (tensor("a", 17, &[]).bytes(9, [0]), "float8e4m3fn"),
        (tensor("a", 0, &[]), "undefined"),
        (tensor("a", 1, &[]).int(14, 1), "another file"),
        (tensor("a", 1, &[]).bytes(13, ""), "another file"),
        (tensor("a", 1, &[]).bytes(3, ""), "a segment"),
        (tensor(&"a".repeat(5_000), 1, &[]), "5000 bytes"),
    ] {
        check_tensor(message, Err(words));
    }
}

#[test]
fn a_model_is_read_whole() {
    let nodes = [
        node("Mystery", &["x", "", "w"], &["h", "unread"])
            .bytes(3, "first")
            .with(5, attribute("alpha", 1).float(2, 0.5))
            .with(5, attribute("axes", 7).packed(8, &[1, -1]))
            .with(5, attribute("zero", 2))
            .with(5, attribute("words", 8).bytes(9, "a").bytes(9, "b"))
            .with(5, attribute("t", 4).with(5, tensor("", 7, &[]).int(7, 4))),
        node("Constant", &[], &["two"]).with(5, attribute("value_float", 1).float(2, 2.0)),
        node("Dead", &["h"], &["nowhere"]),
        node("Mul", &["h", "two"], &["y"]).bytes(7, "ai.onnx"),
    ];
    let weights = tensor("w", 1, &[1]).float(4, 3.0);
    let graph = graph(nodes).with(5, weights).with(11, port("w", &[1]));
    let note = message().bytes(1, "team").bytes(2, "risk");
    let read = parse(&model(17, graph).with(14, note).bytes(3, "2").bytes(6, "words").0).unwrap();
    assert_eq!((read.name.as_str(), read.producer.as_str()), ("small", "writer 2"));
    assert_eq!((read.description.as_str(), read.notes["team"].as_str()), ("words", "risk"));
    let graph = read.graph;
    assert_eq!((graph.opset, graph.opset_ml), (17, 0));
    // The input with a value is a constant; the dead node and its value are gone.
    assert_eq!((graph.inputs.len(), graph.nodes.len(), graph.values.len()), (1, 2, 5));
    assert_eq!(graph.inputs[0].dims, Some(vec![Dim::Named("N".to_owned()), Dim::Fixed(2)]));
    let first = &graph.nodes[0];
    assert_eq!((first.operator.as_str(), first.name.as_str()), ("Mystery", "first"));
    assert!(first.inputs[1].is_none() && first.outputs[1].is_none());
    let weights = graph.constant(first.inputs[2].unwrap()).unwrap();
    assert_eq!(**weights, Tensor::of(&[1], vec![3f32]).unwrap());
    assert_eq!(first.attributes["alpha"], Attribute::Float(0.5));
    assert_eq!(first.attributes["axes"], Attribute::Ints(vec![1, -1]));
    assert_eq!(first.attributes["zero"], Attribute::Int(0));
    assert_eq!(first.attributes["words"], Attribute::Strings(vec!["a".into(), "b".into()]));
    assert_eq!(first.attributes["t"], Attribute::Tensor(Tensor::scalar(4i64).into()));
    let two = graph.constant(graph.nodes[1].inputs[1].unwrap()).unwrap();
    assert_eq!(**two, Tensor::scalar(2f32));
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let sequence = message().bytes(1, "s").with(2, message().bytes(4, ""));
    let function = message().bytes(1, "Relu").bytes(10, "");
    let cases = [
        (relu(|node| node.with(5, attribute("body", 5).bytes(6, ""))), "`body` is a graph"),
        (relu(|node| node.with(5, attribute("x", 2).bytes(21, "outer"))), "reference"),
        (relu(|node| node.with(5, attribute("x", 9))), "tensors"),
        (relu(|node| node.bytes(8, "variant")), "overload"),
        (relu(|node| node.bytes(7, "truststram")), "own operators"),
        (relu(|node| node.bytes(7, "ai.onnx.ml")), "which version"),
        (relu(|node| node).with(25, function), "function"),
        (model(6, graph([])), "version 6"),
        (model(27, graph([])), "version 27"),
        (small([]).with(8, message().bytes(1, "ai.onnx.ml").int(2, 6)), "version 6"),
        (model(17, graph([]).with(12, sequence.clone())), "`s`"),
        (model(17, graph([]).with(11, sequence)), "sequence"),
        (model(17, graph([]).bytes(15, "")), "sparse"),
        (small([node("Constant", &[], &["y"]).with(5, attribute("sparse_value", 11))]), "sparse"),
        (small([node("Constant", &[], &["y"]).with(5, attribute("value_int", 1))]), "value_int"),
    ];
    for (message, words) in cases {
        let error = parse(&message.0).unwrap_err();
        assert!(matches!(error, ModelError::Unsupported { .. }), "{error}, expected {words}");
        assert!(error.to_string().contains(words), "{error}, expected {words}");
    }
}

#[test]
fn what_is_no_model_is_malformed() {
    let constant = |name: &str| tensor(name, 1, &[]).float(4, 1.0);
    let cases = [
        (message(), "format version 0"),
        (message().int(1, 14), "format version 14"),
        (message().int(1, 8), "without a graph"),
        (small([]).bytes(7, ""), "two graphs"),
        (small([]).with(8, message().int(2, 16)), "two versions"),
        (small([]), "`y` used before"),
        (small([node("", &["x"], &["y"])]), "without an operator"),
        (small([node("Relu", &["h"], &["y"]), node("Relu", &["x"], &["h"])]), "`h` used before"),
        (small([node("Relu", &["y"], &["y"])]), "`y` used before"),
        (small([node("Relu", &["x"], &["x"])]), "second time"),
        (model(17, graph([]).with(5, constant("")).with(11, port("y", &[]))), "no name"),
        (model(17, graph([]).with(5, constant("c")).with(5, constant("c"))), "of its own"),
        (model(17, graph([]).with(11, port("x", &[]))), "second time"),
        (model(17, graph([]).with(11, port("z", &[-2]))), "dimension of -2"),
        (relu(|node| node.with(5, attribute("a", 2).float(2, 1.0))), "another value"),
        (relu(|node| node.with(5, attribute("a", 0).int(3, 1))), "of no type"),
        (relu(|node| node.with(5, attribute("a", 2)).with(5, attribute("a", 2))), "twice"),
        (relu(|node| node.int(4, 3)), "another wire type"),
        (Message(vec![0x0b]), "wire type 3"),
        (Message(vec![0x00]), "without a number"),
        (Message(vec![0x08]), "without an end"),
        (Message([0x08].into_iter().chain([0xff; 10]).collect()), "without an end"),
        (Message(vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]), "cut off"),
    ];
    for (message, words) in cases {
        let error = parse(&message.0).unwrap_err();
        let kinds = matches!(error, ModelError::Container { .. } | ModelError::Graph { .. });
        assert!(kinds, "{error}, expected {words}");
        assert!(error.to_string().contains(words), "{error}, expected {words}");
    }
}
