//! Owns the questions that a fusion asks about a node and those before it.
//!
//! Refuses to know any fusion. Bound: who makes and reads each value is counted once per round; a
//! node that is replaced takes the place of the last one of those that it stands for, and the
//! others are left to [`Graph::prune`], having no reader any more.

use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::{Attribute, Graph, Node, Port, ValueId};
use crate::program::{BuildOptions, Program};
use crate::tensor::{DType, Tensor};

/// Gives the node that computes what the node at an index does together with those before it.
pub(super) type Rule = fn(&mut Matcher<'_>, usize) -> Option<Node>;

/// See the module.
pub(super) struct Matcher<'a> {
    graph: &'a mut Graph,
    options: &'a BuildOptions,
    /// By value: the node that makes it.
    maker: Vec<Option<usize>>,
    /// By value: how many nodes and outputs read it.
    reads: Vec<u32>,
}

impl<'a> Matcher<'a> {
    /// Counts what stands in the graph.
    pub fn new(graph: &'a mut Graph, options: &'a BuildOptions) -> Self {
        let mut maker = vec![None; graph.values.len()];
        let mut reads = vec![0; graph.values.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            node.outputs.iter().flatten().for_each(|id| maker[id.0 as usize] = Some(index));
            node.inputs.iter().flatten().for_each(|id| reads[id.0 as usize] += 1);
        }
        graph.outputs.iter().for_each(|port| reads[port.value.0 as usize] += 1);
        Self { graph, options, maker, reads }
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.graph.nodes.len()
    }

    /// The version of `ai.onnx`.
    pub fn opset(&self) -> u32 {
        self.graph.opset
    }

    /// A node.
    pub fn node(&self, index: usize) -> &Node {
        &self.graph.nodes[index]
    }

    /// The node at an index if it is this operator of `ai.onnx`, with one output.
    pub fn is(&self, index: usize, operator: &str) -> Option<&Node> {
        let node = self.node(index);
        let matches = node.domain.is_empty() && node.operator == operator;
        (matches && output(node).is_some()).then_some(node)
    }

    /// The node that makes a value, if it is this operator of `ai.onnx` and the value is its only
    /// output and has so many readers.
    pub fn made_by(&self, id: ValueId, operator: &str, reads: u32) -> Option<&Node> {
        let index = self.sole_maker(id, reads)?;
        self.is(index, operator)
    }

    /// The node that makes a value with one reader, if it is this operator of our own.
    pub fn made_by_own(&self, id: ValueId, operator: &str, reads: u32) -> Option<&Node> {
        let node = self.node(self.sole_maker(id, reads)?);
        let matches = node.domain == Node::OWN_DOMAIN && node.operator == operator;
        (matches && output(node).is_some()).then_some(node)
    }

    fn sole_maker(&self, id: ValueId, reads: u32) -> Option<usize> {
        if *self.reads.get(id.0 as usize)? != reads {
            return None;
        }
        self.maker.get(id.0 as usize).copied().flatten()
    }

    /// The tensor of a value, if it is constant.
    pub fn constant(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        self.graph.constant(id)
    }

    /// The values of a constant of `f32`.
    pub fn floats(&self, id: ValueId) -> Option<&[f32]> {
        self.constant(id)?.values::<f32>()
    }

    /// Whether a value is a constant of one number of `f32`, and this one up to rounding. It must
    /// not have more dimensions than `rank_max`, for they would become those of the result.
    pub fn is_number(&self, id: ValueId, wanted: f64, rank_max: usize) -> bool {
        let Some(tensor) = self.constant(id) else { return false };
        match tensor.values::<f32>() {
            Some([value]) if tensor.shape().len() <= rank_max => {
                (f64::from(*value) - wanted).abs() <= wanted.abs() * 1e-6
            }
            _ => false,
        }
    }

    /// A constant of one number of `f32`.
    pub fn number(&self, id: ValueId) -> Option<f32> {
        let tensor = self.constant(id)?;
        match tensor.values::<f32>() {
            Some([value]) if tensor.shape().len() <= 1 => Some(*value),
            _ => None,
        }
    }

    /// Adds a constant, named by what it is and its number.
    pub fn add_constant(&mut self, what: &str, tensor: Tensor) -> ValueId {
        let name = format!("{what} #{}", self.graph.values.len());
        self.graph.add_constant(name, tensor)
    }

    /// Whether a program can be built of a node alone, its inputs being constants or of `f32`.
    pub fn can_run(&self, node: &Node) -> bool {
        Program::build(&alone(self.graph, node), self.options).is_ok()
    }

    /// Puts a node in the place of another one.
    pub fn replace(&mut self, index: usize, mut node: Node) {
        let before = &mut self.graph.nodes[index];
        if node.name.is_empty() {
            node.name = std::mem::take(&mut before.name);
        }
        *before = node;
    }
}

/// The only output of a node that anybody reads, if it is the first.
pub(super) fn output(node: &Node) -> Option<ValueId> {
    let (first, others) = node.outputs.split_first()?;
    if others.iter().any(Option::is_some) { None } else { *first }
}

/// The only input of a node.
pub(super) fn single(node: &Node) -> Option<ValueId> {
    match node.inputs.as_slice() {
        [Some(id)] => Some(*id),
        _ => None,
    }
}

/// The inputs of a node that has two.
pub(super) fn pair(node: &Node) -> Option<(ValueId, ValueId)> {
    match node.inputs.as_slice() {
        [Some(left), Some(right)] => Some((*left, *right)),
        _ => None,
    }
}

/// The inputs of a node that has two, either of which may be the first.
pub(super) fn both_ways(node: &Node) -> impl Iterator<Item = (ValueId, ValueId)> + use<> {
    pair(node).into_iter().flat_map(|(left, right)| [(left, right), (right, left)])
}

/// A setting that is a whole number, or `default`; none if it is something else.
pub(super) fn int_or(node: &Node, name: &str, default: i64) -> Option<i64> {
    match node.attributes.get(name) {
        None => Some(default),
        Some(Attribute::Int(value)) => Some(*value),
        Some(_) => None,
    }
}

/// A setting that is a number, or `default`; none if it is something else.
pub(super) fn float_or(node: &Node, name: &str, default: f32) -> Option<f32> {
    match node.attributes.get(name) {
        None => Some(default),
        Some(Attribute::Float(value)) => Some(*value),
        Some(_) => None,
    }
}

/// A graph of one node of another graph: its constants, what it reads as inputs of `f32`, and what
/// it makes as outputs.
pub(super) fn alone(graph: &Graph, node: &Node) -> Graph {
    let mut alone = Graph { opset: graph.opset, opset_ml: graph.opset_ml, ..Graph::default() };
    let mut node = node.clone();
    let mut ids = HashMap::new();
    for id in node.inputs.iter_mut().flatten() {
        let inner = *ids.entry(*id).or_insert_with(|| {
            let value = alone.add_value(graph.value(*id).name.as_str());
            match graph.constant(*id) {
                Some(tensor) => alone.values[value.0 as usize].constant = Some(Arc::clone(tensor)),
                None => alone.inputs.push(Port { value, dtype: DType::F32, dims: None }),
            }
            value
        });
        *id = inner;
    }
    for id in node.outputs.iter_mut().flatten() {
        let value = alone.add_value(graph.value(*id).name.as_str());
        // The type is the operator's; this one is not looked at.
        alone.outputs.push(Port { value, dtype: DType::F32, dims: None });
        *id = value;
    }
    alone.nodes.push(node);
    alone
}
