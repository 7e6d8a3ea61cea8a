//! The layers of encoders on small graphs: what they give and what they refuse.

use crate::error::ModelError;
use crate::graph::{Attribute, Dim, Graph, Node, Port};
use crate::ops::support::evaluate_twice;
use crate::tensor::Tensor;

fn floats(dims: &[usize], values: &[f32]) -> Tensor {
    Tensor::of(dims, values.to_vec()).unwrap()
}

fn ids(values: &[u32]) -> Tensor {
    Tensor::of(&[values.len()], values.to_vec()).unwrap()
}

/// Runs one node: first what is given, then the constants.
fn run(
    operator: &str,
    given: &[Option<Tensor>],
    constants: &[Option<Tensor>],
    attributes: &[(&str, Attribute)],
) -> Result<Vec<f32>, ModelError> {
    let mut graph = Graph { opset: 21, ..Graph::default() };
    let mut inputs = Vec::new();
    for tensor in given {
        inputs.push(tensor.as_ref().map(|tensor| {
            let value = graph.add_value(format!("x{}", graph.values.len()));
            let dims = Some(vec![Dim::Any; tensor.shape().len()]);
            graph.inputs.push(Port { value, dtype: tensor.dtype(), dims });
            value
        }));
    }
    for tensor in constants {
        let add = |tensor: &Tensor| {
            graph.add_constant(format!("c{}", graph.values.len()), tensor.clone())
        };
        inputs.push(tensor.as_ref().map(add));
    }
    let out = graph.add_value("out");
    let mut node = Node::own(operator, inputs, vec![out]);
    for (name, attribute) in attributes {
        node = node.with(name, attribute.clone());
    }
    graph.nodes.push(node);
    graph.outputs.push(Port { value: out, dtype: crate::tensor::DType::F32, dims: None });
    let found = evaluate_twice(&graph, given.iter().flatten().cloned().collect())?;
    Ok(found[0].values::<f32>().unwrap().to_vec())
}

fn text(value: &str) -> Attribute {
    Attribute::String(value.to_owned())
}

/// What makes each row of two numbers `[-1, 1]` or `[1, -1]`, times ten.
fn norm() -> [Option<Tensor>; 2] {
    [Some(floats(&[2], &[10.0, 10.0])), Some(floats(&[2], &[0.5, 0.0]))]
}

#[test]
fn tokens_become_rows_of_their_text() {
    let words = Some(floats(&[3, 2], &[0.0, 0.0, 5.0, 0.0, 0.0, 9.0]));
    let positions = Some(floats(&[3, 2], &[0.0, 6.0, 0.0, 1.0, 7.0, 0.0]));
    let [gamma, beta] = norm();
    let constants = [words, positions, None, gamma, beta];
    let tight = ("epsilon", Attribute::Float(0.0));
    let check = |tokens: &[u32], offsets: &[u32], more: &[(&str, Attribute)], expected: &[f32]| {
        let given = [Some(ids(tokens)), Some(ids(offsets)), None];
        let attributes: Vec<_> = [tight.clone()].into_iter().chain(more.iter().cloned()).collect();
        let found = run("Embed", &given, &constants, &attributes);
        match found {
            Ok(found) => assert_eq!(found, expected, "{tokens:?} {offsets:?}"),
            Err(error) => assert!(expected.is_empty(), "{tokens:?} {offsets:?}: {error}"),
        }
    };
    let (low, high) = ([-9.5, 10.0], [10.5, -10.0]);
    // [0, 6] and [5, 1]; the second text begins at position 0 again: [5, 6].
    check(&[0, 1, 1], &[0, 2, 3], &[], &[low, high, low].concat());
    // The padding stands at position 0 and is not counted: [0, 1], [0, 6], [12, 0].
    let padded = [("position_first", Attribute::Int(1)), ("padding", Attribute::Int(2))];
    check(&[0, 2, 1], &[0, 3], &padded, &[low, low, high].concat());
    check(&[0, 3], &[0, 2], &[], &[]);
    check(&[0, 0, 0, 0], &[0, 4], &[], &[]);
    check(&[0, 0], &[0, 1], &[], &[]);
    check(&[0, 0], &[1, 2], &[], &[]);
    check(&[0, 0], &[0, 2, 2], &[], &[]);
    check(&[0, 0], &[0, 2], &[("padding", Attribute::Int(1))], &[]);
}

#[test]
fn sums_are_normalised() {
    let given = [Some(floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0])), Some(floats(&[2, 2], &[1.0; 4]))];
    let epsilon = [("epsilon", Attribute::Float(0.0))];
    let found = run("ResidualNorm", &given, &norm(), &epsilon).unwrap();
    assert_eq!(found, [-9.5, 10.0, -9.5, 10.0]);
    let other = [given[0].clone(), Some(floats(&[1, 2], &[1.0; 2]))];
    assert!(run("ResidualNorm", &other, &norm(), &epsilon).is_err());
}

#[test]
fn texts_become_one_row() {
    let x = Some(floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, -6.0, 8.0]));
    let given = [x.clone(), Some(ids(&[0, 2, 3]))];
    let mode = |mode| [("mode", text(mode))];
    assert_eq!(run("Pool", &given, &[], &mode("mean")).unwrap(), [2.0, 3.0, -6.0, 8.0]);
    assert_eq!(run("Pool", &given, &[], &mode("first")).unwrap(), [1.0, 2.0, -6.0, 8.0]);
    assert!(run("Pool", &given, &[], &mode("max")).is_err());
    assert!(run("Pool", &[x, Some(ids(&[0, 4]))], &[], &mode("mean")).is_err());
    let x = [Some(floats(&[2, 2], &[3.0, -4.0, 0.0, 0.0]))];
    assert_eq!(run("L2Normalize", &x, &[], &[]).unwrap(), [0.6, -0.8, 0.0, 0.0]);
}

#[test]
fn attention_wants_whole_heads() {
    let given = [Some(floats(&[1, 6], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])), Some(ids(&[0, 1]))];
    let sizes =
        |heads, size| [("heads", Attribute::Int(heads)), ("head_size", Attribute::Int(size))];
    assert_eq!(run("Attention", &given, &[], &sizes(2, 1)).unwrap(), [5.0, 6.0]);
    assert!(run("Attention", &given, &[], &sizes(2, 2)).is_err());
    assert!(run("Attention", &given, &[], &sizes(0, 2)).is_err());
    assert!(run("Attention", &given, &[], &[]).is_err());
}
