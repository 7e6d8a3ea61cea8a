//! Artifacts there and back, and files that lie.

use std::sync::Arc;

use super::*;
use crate::error::ModelError;
use crate::graph::{Attribute, Dim, Graph, Node, Port, ValueId};
use crate::tensor::{DType, Tensor};
use crate::testing::small_model;

/// A graph with every kind of attribute and constant; no operator of it needs to exist.
fn everything() -> Artifact {
    let mut graph = Graph { opset: 17, opset_ml: 3, ..Graph::default() };
    let x = graph.add_value("x");
    let texts = Tensor::of(&[1, 2], vec!["a".to_owned(), "ü\"".to_owned()]).unwrap();
    let texts = graph.add_constant("texts", texts);
    let scalar = graph.add_constant("", Tensor::scalar(true));
    let y = graph.add_value("y");
    let small = Tensor::of(&[2], vec![half::f16::ONE, half::f16::NAN]).unwrap();
    let node = Node {
        operator: "Made".to_owned(),
        domain: "up".to_owned(),
        inputs: vec![Some(x), None, Some(texts), Some(scalar)],
        outputs: vec![None, Some(y)],
        ..Node::default()
    };
    let node = node
        .with("int", Attribute::Int(i64::MIN))
        .with("float", Attribute::Float(f32::NEG_INFINITY))
        .with("tiny", Attribute::Float(1.0e-45))
        .with("floats", Attribute::Floats(vec![0.1, f32::INFINITY]))
        .with("ints", Attribute::Ints(vec![1, -2]))
        .with("many", Attribute::Ints((0..100).collect()))
        .with("string", Attribute::String("s".to_owned()))
        .with("strings", Attribute::Strings(vec![String::new()]))
        .with("tensor", Attribute::Tensor(Arc::new(small)));
    graph.nodes.push(node);
    let port = |value, dtype, dims| Port { value, dtype, dims };
    let dims = vec![Dim::Named("n".to_owned()), Dim::Fixed(3)];
    graph.inputs.push(port(x, DType::I64, Some(dims)));
    graph.outputs.push(port(y, DType::F32, None));
    let one = |name: &str, dtype| SignaturePort { name: name.to_owned(), dtype, dims: vec![-1, 3] };
    let signature = Signature {
        inputs: vec![one("x", DType::I64)],
        outputs: vec![one("y", DType::F32)],
        task: Task::Classify {
            classes: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            probabilities: 0,
            label: None,
        },
        batchable: true,
        tokens: None,
    };
    let samples = vec![Tensor::of(&[1, 3], vec![1i64, 2, 3]).unwrap()];
    Artifact { graph, signature, tokenizer: Some(vec![1, 2, 3]), dense: None, samples }
}

#[test]
fn an_artifact_survives_its_file() {
    let check = |artifact: &Artifact| {
        let bytes = artifact.to_bytes().unwrap();
        let read = Artifact::parse(&bytes).unwrap();
        assert_eq!(read.to_bytes().unwrap(), bytes);
        assert_eq!(read.signature, artifact.signature);
        assert_eq!(read.dense, artifact.dense);
        assert_eq!(read.tokenizer, artifact.tokenizer);
        // NaN is not equal to itself, so the graphs are compared as text.
        assert_eq!(format!("{:?}", read.graph), format!("{:?}", artifact.graph));
    };
    check(&everything());
    check(&Artifact::of_dense(small_model(0.0)));
    let trained = small_model(0.0).to_bytes().unwrap();
    let dense = Artifact::parse(&trained).unwrap();
    assert_eq!(dense.signature.feature_count(), Some(2));
    check(&dense);
}

#[test]
fn what_does_not_fit_is_named() {
    let check = |change: fn(&mut Artifact), expected: &str| {
        let mut artifact = everything();
        change(&mut artifact);
        let text = artifact.to_bytes().unwrap_err().to_string();
        assert!(text.contains(expected), "{text:?} does not say {expected:?}");
    };
    check(|a| a.signature.inputs[0].dims = vec![-1, 4], "[-1, 3] as in the graph");
    check(|a| a.signature.inputs[0].dims = vec![-1], "[-1, 3] as in the graph");
    check(|a| a.signature.inputs[0].dims = vec![1, 3], "-1 first");
    check(|a| a.signature.inputs[0].dims = vec![-2, 3], "-1 or up to");
    check(|a| a.signature.inputs[0].dtype = DType::F32, "i64 as in the graph");
    check(|a| a.signature.inputs.clear(), "`inputs` is 0");
    check(|a| a.signature.outputs[0].dims = vec![-1, 4], "task.probabilities");
    check(|a| a.signature.task = Task::Embed { dimension: 4, length_max: 1 }, "task.dimension");
    check(|a| a.samples.push(Tensor::scalar(1.0f32)), "truststram.sample");
    check(|a| a.samples[0] = Tensor::scalar(1.0f32), "f32, expected i64");
    check(|a| a.graph.outputs[0].value = ValueId(99), "value 99");
    check(|a| a.graph.nodes[0].inputs[0] = Some(ValueId(3)), "used before");
    let tokens = TokenInput { length_max: 1, vocabulary: 1, types: 0 };
    let mut artifact = everything();
    artifact.signature.tokens = Some(tokens);
    assert!(artifact.validate().unwrap_err().to_string().contains("2 or 3"));
}

/// The same file with one text of its header replaced by one of the same length.
fn forged(from: &str, to: &str) -> ModelError {
    let mut bytes = everything().to_bytes().unwrap();
    let found = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let at = found.unwrap_or_else(|| panic!("no {from}"));
    assert_eq!(from.len(), to.len());
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    Artifact::parse(&bytes).unwrap_err()
}

#[test]
fn files_that_lie_are_refused() {
    let check = |from: &str, to: &str, expected: &str| {
        let text = forged(from, to).to_string();
        assert!(text.contains(expected), "{text:?} does not say {expected:?}");
    };
    check("truststram.graph", "truststram.grapf", "without `truststram.graph`");
    check(r#"tensor\":\"node.0.many"#, r#"tensor\":\"node.0.mani"#, "node.0.mani");
    check(r#"\"dims\":[100]"#, r#"\"dims\":[101]"#, "node.0.many");
    check(r#"\"dims\":[1,2]"#, r#"\"dims\":[2,2]"#, "2 texts");
    check(r#"\"float\":\"-inf\""#, r#"\"float\":\"-inx\""#, "expected a number");
    check(r#"\"opset\":17"#, r#"\"opsex\":17"#, "unknown field");
    check("truststram.sample.0", "truststram.sampel.0", "a place in the file");
    let whole = everything().to_bytes().unwrap();
    for length in [0, 7, 8, 100, whole.len() - 1] {
        assert!(Artifact::parse(&whole[..length]).is_err());
    }
}
