//! Owns the building of small graphs and the comparison before and after the passes.

use crate::graph::{Attribute, Dim, Graph, Node, Port, ValueId};
use crate::passes::optimize;
use crate::program::{BuildOptions, evaluate};
use crate::tensor::{DType, Element, Tensor};

/// A graph that grows.
pub struct Small(pub Graph);

impl Small {
    /// An empty graph for a version of the operators.
    pub fn new(opset: u32) -> Self {
        Self(Graph { opset, opset_ml: 3, ..Graph::default() })
    }

    /// Adds an input of `f32`; a dimension of 0 may have any number of elements.
    pub fn input(&mut self, dims: &[usize]) -> ValueId {
        let value = self.0.add_value(format!("input {}", self.0.values.len()));
        let dim = |count: &usize| if *count == 0 { Dim::Any } else { Dim::Fixed(*count) };
        let dims = Some(dims.iter().map(dim).collect());
        self.0.inputs.push(Port { value, dtype: DType::F32, dims });
        value
    }

    /// Adds a constant.
    pub fn constant<T: Element>(&mut self, dims: &[usize], values: Vec<T>) -> ValueId {
        let name = format!("constant {}", self.0.values.len());
        self.0.add_constant(name, Tensor::of(dims, values).unwrap())
    }

    /// Adds a constant of `f32` with values that differ, around 0.
    pub fn weights(&mut self, dims: &[usize]) -> ValueId {
        self.constant(dims, numbers(dims.iter().product(), self.0.values.len()))
    }

    /// Adds a node of `ai.onnx` with one output.
    pub fn node(&mut self, operator: &str, inputs: &[ValueId]) -> ValueId {
        self.node_with(operator, inputs, &[])
    }

    /// Adds a node of `ai.onnx` with one output and settings.
    pub fn node_with(
        &mut self,
        operator: &str,
        inputs: &[ValueId],
        attributes: &[(&str, Attribute)],
    ) -> ValueId {
        let output = self.0.add_value(format!("made {}", self.0.values.len()));
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        self.0.nodes.push(Node {
            operator: operator.to_owned(),
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![Some(output)],
            attributes: attributes.collect(),
            ..Node::default()
        });
        output
    }

    /// Wants a value.
    pub fn output(&mut self, value: ValueId) {
        self.0.outputs.push(Port { value, dtype: DType::F32, dims: None });
    }

    /// Optimizes the graph for the `wanted` value, asserts which operators are left, in order, and
    /// that both answer alike to inputs of these dimensions. Gives the graph that is left.
    #[track_caller]
    pub fn check(mut self, wanted: ValueId, input_dims: &[&[usize]], left: &[&str]) -> Graph {
        self.output(wanted);
        let options = BuildOptions::default();
        let before = self.0;
        let after = optimize(before.clone(), &options).unwrap();
        let operators: Vec<&str> = after.nodes.iter().map(|node| node.operator.as_str()).collect();
        assert_eq!(operators, left);
        let names = |graph: &Graph| -> Vec<String> {
            graph.outputs.iter().map(|port| graph.value(port.value).name.clone()).collect()
        };
        assert_eq!(names(&before), names(&after));
        let inputs = || input_dims.iter().enumerate();
        let inputs = || {
            let input = |(index, dims): (usize, &&[usize])| {
                let count = dims.iter().product();
                Tensor::of(dims, numbers(count, 100 + index)).unwrap()
            };
            inputs().map(input).collect()
        };
        let expected = evaluate(&before, &options, inputs()).unwrap();
        let found = evaluate(&after, &options, inputs()).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.shape(), expected.shape());
            let pair = (found.values::<f32>(), expected.values::<f32>());
            let (Some(found), Some(expected)) = pair else {
                assert_eq!(found, expected);
                continue;
            };
            for (found, expected) in found.iter().zip(expected) {
                let difference = (found - expected).abs();
                assert!(difference <= 1e-5 * (1.0 + expected.abs()), "{found}, not {expected}");
            }
        }
        after
    }
}

/// Numbers between -1.5 and 1.5 that differ from seed to seed.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 37 + seed * 11) % 61) as f32 / 20.0 - 1.5).collect()
}
