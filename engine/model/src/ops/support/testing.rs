//! Owns the graphs of one node that the tests of operators run.
//!
//! Refuses to know operators. Bound: compiled for tests only.

use crate::error::ModelError;
use crate::graph::{Attribute, Graph, Node, Port};
use crate::program::{BuildOptions, Program, evaluate, evaluate_by};
use crate::tensor::Tensor;
use crate::testing::Backwards;

/// One node to run.
pub struct Case {
    opset: u32,
    node: Node,
    inputs: Vec<Option<Tensor>>,
    outputs: usize,
}

/// Whole numbers in a row.
pub fn ints(values: &[i64]) -> Tensor {
    Tensor::of(&[values.len()], values.to_vec()).unwrap()
}

/// The outputs of a graph. Asserts that they are the same by a team; NaN is equal to itself here.
pub fn evaluate_twice(graph: &Graph, given: Vec<Tensor>) -> Result<Vec<Tensor>, ModelError> {
    let options = BuildOptions::default();
    let outputs = evaluate(graph, &options, given.clone())?;
    let by_team = evaluate_by(graph, &options, given, &Backwards(3))?;
    assert_eq!(outputs.len(), by_team.len());
    for (alone, divided) in outputs.iter().zip(&by_team) {
        match (alone.values::<f32>(), divided.values::<f32>()) {
            (Some(alone), Some(divided)) => assert_eq!(bits(alone), bits(divided), "by a team"),
            _ => assert_eq!(format!("{alone:?}"), format!("{divided:?}"), "by a team"),
        }
    }
    Ok(outputs)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

impl Case {
    /// A node of the operators of `ai.onnx` with one output.
    pub fn new(operator: &str, opset: u32) -> Self {
        let node = Node { operator: operator.to_owned(), ..Node::default() };
        Self { opset, node, inputs: Vec::new(), outputs: 1 }
    }

    /// The same with one more input.
    pub fn input(mut self, tensor: Tensor) -> Self {
        self.inputs.push(Some(tensor));
        self
    }

    /// The same with an absent input.
    pub fn absent(mut self) -> Self {
        self.inputs.push(None);
        self
    }

    /// The same with this many outputs.
    pub fn outputs(mut self, count: usize) -> Self {
        self.outputs = count;
        self
    }

    /// The same with a setting.
    pub fn with(mut self, name: &str, attribute: Attribute) -> Self {
        self.node = self.node.with(name, attribute);
        self
    }

    /// The same with a whole number as a setting.
    pub fn int(self, name: &str, value: i64) -> Self {
        self.with(name, Attribute::Int(value))
    }

    /// The same with whole numbers as a setting.
    pub fn ints(self, name: &str, values: &[i64]) -> Self {
        self.with(name, Attribute::Ints(values.to_vec()))
    }

    /// The same with text as a setting.
    pub fn text(self, name: &str, value: &str) -> Self {
        self.with(name, Attribute::String(value.to_owned()))
    }

    /// The same of the operators of another domain.
    pub fn domain(mut self, domain: &str) -> Self {
        domain.clone_into(&mut self.node.domain);
        self
    }

    /// Bytes that a program of it holds between runs.
    pub fn memory(self) -> u64 {
        let (graph, _) = self.graph();
        Program::build(&graph, &BuildOptions::default()).unwrap().memory().bytes()
    }

    /// The outputs, or why there are none.
    pub fn run(self) -> Result<Vec<Tensor>, ModelError> {
        let (graph, given) = self.graph();
        evaluate_twice(&graph, given)
    }

    /// The node alone, and what it is given.
    fn graph(self) -> (Graph, Vec<Tensor>) {
        let mut graph = Graph { opset: self.opset, ..Graph::default() };
        let mut node = self.node;
        let mut given = Vec::new();
        for (index, tensor) in self.inputs.into_iter().enumerate() {
            let Some(tensor) = tensor else {
                node.inputs.push(None);
                continue;
            };
            let value = graph.add_value(format!("x{index}"));
            graph.inputs.push(Port { value, dtype: tensor.dtype(), dims: None });
            node.inputs.push(Some(value));
            given.push(tensor);
        }
        for index in 0..self.outputs {
            let value = graph.add_value(format!("y{index}"));
            let dtype = crate::tensor::DType::F32;
            graph.outputs.push(Port { value, dtype, dims: None });
            node.outputs.push(Some(value));
        }
        graph.nodes.push(node);
        (graph, given)
    }

    /// Asserts that the first output is this.
    pub fn gives(self, wanted: &Tensor) {
        let name = self.node.operator.clone();
        match self.run() {
            Ok(outputs) => assert_eq!(outputs.first(), Some(wanted), "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }

    /// Asserts that building refuses it.
    pub fn refused(self) {
        let name = self.node.operator.clone();
        let refused = self.run();
        assert!(matches!(refused, Err(ModelError::Unsupported { .. })), "{name}: {refused:?}");
    }

    /// Asserts that it is built, and that the run reports its inputs.
    pub fn fails(self) {
        let name = self.node.operator.clone();
        let failed = self.run();
        assert!(matches!(failed, Err(ModelError::Run { .. })), "{name}: {failed:?}");
    }
}
