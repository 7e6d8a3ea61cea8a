//! Programs of small graphs, from building to the second run.

use std::sync::Arc;

use super::*;
use crate::error::ModelError;
use crate::graph::{Dim, Graph, Node, Port};
use crate::kernels::Alone;
use crate::tensor::{DType, Shape, Tensor};

/// `length` times Relu, one after the other.
fn chain(length: usize, operator: &str) -> Graph {
    let mut graph = Graph { opset: 14, ..Graph::default() };
    let first = graph.add_value("x");
    let port = |value| Port { value, dtype: DType::F32, dims: Some(vec![Dim::Any]) };
    graph.inputs.push(port(first));
    let mut last = first;
    for index in 0..length {
        let next = graph.add_value(format!("y{index}"));
        graph.nodes.push(Node {
            operator: operator.to_owned(),
            inputs: vec![Some(last)],
            outputs: vec![Some(next)],
            ..Node::default()
        });
        last = next;
    }
    graph.outputs.push(port(last));
    graph
}

#[test]
fn a_program_runs_again_in_the_same_buffers() {
    let program = Arc::new(Program::build(&chain(5, "Relu"), &BuildOptions::default()).unwrap());
    let mut session = Session::new(program);
    for count in [3, 2] {
        let shape = Shape::new(&[count]).unwrap();
        session
            .input_mut(0)
            .reset_as::<f32>(shape)
            .copy_from_slice(&[-1.0, 2.0, f32::NAN][..count]);
        session.run(&Alone, None).unwrap();
        let out = session.output(0).unwrap().values::<f32>().unwrap();
        assert_eq!(out[..2], [0.0, 2.0]);
        assert_eq!(out.len(), count);
        assert!(count == 2 || out[2].is_nan());
    }
    // Two buffers take turns, and the input keeps its own.
    assert_eq!(session.bytes(), 3 * 2 * 4);
}

#[test]
fn what_cannot_run_is_named() {
    let refused = Program::build(&chain(2, "Relux"), &BuildOptions::default()).unwrap_err();
    assert!(matches!(refused, ModelError::Unsupported { .. }), "{refused}");
    assert!(refused.to_string().contains("Relux"), "{refused}");
    let mut twice = chain(2, "Relu");
    twice.nodes[1].outputs = twice.nodes[0].outputs.clone();
    assert!(matches!(twice.validate(), Err(ModelError::Graph { .. })));
    let mut early = chain(2, "Relu");
    early.nodes.reverse();
    assert!(matches!(early.validate(), Err(ModelError::Graph { .. })));
}

#[test]
fn a_result_over_the_limit_is_refused_and_the_session_goes_on() {
    let options = BuildOptions { session_bytes_max: 8, ..BuildOptions::default() };
    let program = Arc::new(Program::build(&chain(1, "Relu"), &options).unwrap());
    let mut session = Session::new(program);
    for (count, fits) in [(2, true), (3, false), (1, true)] {
        session.input_mut(0).reset(DType::F32, Shape::new(&[count]).unwrap());
        let result = session.run(&Alone, None);
        assert_eq!(result.is_ok(), fits, "{result:?}");
    }
    *session.input_mut(0) = Tensor::scalar(1i64);
    assert!(matches!(session.run(&Alone, None), Err(ModelError::Run { .. })));
}
