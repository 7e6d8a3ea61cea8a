//! Owns the graph's parts and the order among them.
//!
//! Refuses to know operators. Bound: [`NODE_COUNT_MAX`] nodes and [`VALUE_COUNT_MAX`] values; the
//! check of the order is one pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attribute::Attribute;
use crate::error::ModelError;
use crate::tensor::{DType, Tensor};

/// Most nodes of a graph.
pub const NODE_COUNT_MAX: usize = 65_536;
/// Most values of a graph, constants included.
pub const VALUE_COUNT_MAX: usize = 262_144;

/// Names a value within its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// Elements along one dimension of an input or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Always this many.
    Fixed(usize),
    /// The same number wherever the name stands.
    Named(String),
    /// Any number.
    Any,
}

/// Something that is computed, given or constant.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its name; unique within the graph.
    pub name: String,
    /// Its tensor, if it is constant.
    pub constant: Option<Arc<Tensor>>,
}

/// An input or an output of the graph.
#[derive(Clone, Debug)]
pub struct Port {
    /// Which value.
    pub value: ValueId,
    /// The type of its elements.
    pub dtype: DType,
    /// Its dimensions; none where the file does not say how many there are.
    pub dims: Option<Vec<Dim>>,
}

/// One use of an operator.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// For messages; may be empty.
    pub name: String,
    /// Empty for `ai.onnx`; `ai.onnx.ml`; `truststram` for our own.
    pub domain: String,
    /// The operator.
    pub operator: String,
    /// What goes in; optional ones may be absent.
    pub inputs: Vec<Option<ValueId>>,
    /// What comes out; those that nobody uses may be absent.
    pub outputs: Vec<Option<ValueId>>,
    /// Its settings.
    pub attributes: BTreeMap<String, Attribute>,
}

impl Node {
    /// The domain of the operators that only this engine has.
    pub const OWN_DOMAIN: &str = "truststram";

    /// A node of one of our own operators.
    pub fn own(operator: &str, inputs: Vec<Option<ValueId>>, outputs: Vec<ValueId>) -> Self {
        Self {
            name: String::new(),
            domain: Self::OWN_DOMAIN.to_owned(),
            operator: operator.to_owned(),
            inputs,
            outputs: outputs.into_iter().map(Some).collect(),
            attributes: BTreeMap::new(),
        }
    }

    /// The same with one more setting.
    pub fn with(mut self, name: &str, attribute: Attribute) -> Self {
        self.attributes.insert(name.to_owned(), attribute);
        self
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The version of `ai.onnx` whose meaning its nodes have.
    pub opset: u32,
    /// The version of `ai.onnx.ml`.
    pub opset_ml: u32,
    /// All values; a [`ValueId`] is an index.
    pub values: Vec<Value>,
    /// What is given.
    pub inputs: Vec<Port>,
    /// What is wanted.
    pub outputs: Vec<Port>,
    /// In an order in which each can be computed after those before it.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// Adds a value that is computed or given.
    pub fn add_value(&mut self, name: impl Into<String>) -> ValueId {
        self.values.push(Value { name: name.into(), constant: None });
        ValueId(self.values.len() as u32 - 1)
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let id = self.add_value(name);
        self.values[id.0 as usize].constant = Some(Arc::new(tensor));
        id
    }

    /// The value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// Its tensor, if it is constant.
    pub fn constant(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        self.value(id).constant.as_ref()
    }

    /// Checks the bounds, that ids exist, and that every value is made once and before its use.
    ///
    /// # Errors
    /// [`ModelError::Graph`] names the node.
    pub fn validate(&self) -> Result<(), ModelError> {
        let wrong = |place: &str, found: String, expected: String| ModelError::Graph {
            place: place.to_owned(),
            found,
            expected,
        };
        for (what, count, max) in [
            ("nodes", self.nodes.len(), NODE_COUNT_MAX),
            ("values", self.values.len(), VALUE_COUNT_MAX),
        ] {
            if count > max {
                return Err(wrong(what, count.to_string(), format!("at most {max}")));
            }
        }
        let mut made: Vec<bool> =
            self.values.iter().map(|value| value.constant.is_some()).collect();
        for port in &self.inputs {
            self.make(&mut made, port.value, "the inputs")?;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for id in node.inputs.iter().flatten() {
                self.ensure_made(&made, *id, || self.place(index))?;
            }
            for id in node.outputs.iter().flatten() {
                self.make(&mut made, *id, &self.place(index))?;
            }
        }
        for port in &self.outputs {
            self.ensure_made(&made, port.value, || "the outputs".to_owned())?;
        }
        Ok(())
    }

    fn make(&self, made: &mut [bool], id: ValueId, place: &str) -> Result<(), ModelError> {
        let found = match made.get_mut(id.0 as usize) {
            Some(made) if !*made => {
                *made = true;
                return Ok(());
            }
            Some(_) => format!("`{}` made a second time", self.value(id).name),
            None => format!("value {}", id.0),
        };
        let expected = "a value of the graph, made once".to_owned();
        Err(ModelError::Graph { place: place.to_owned(), found, expected })
    }

    fn ensure_made(
        &self,
        made: &[bool],
        id: ValueId,
        place: impl FnOnce() -> String,
    ) -> Result<(), ModelError> {
        let found = match made.get(id.0 as usize) {
            Some(true) => return Ok(()),
            Some(false) => format!("`{}` used before it is made", self.value(id).name),
            None => format!("value {}", id.0),
        };
        let expected = "inputs, constants and what earlier nodes made".to_owned();
        Err(ModelError::Graph { place: place(), found, expected })
    }

    /// How messages name a node.
    pub fn place(&self, node: usize) -> String {
        let node_name = &self.nodes[node].name;
        match node_name.is_empty() {
            true => format!("node {node} ({})", self.nodes[node].operator),
            false => format!("node {node} `{node_name}` ({})", self.nodes[node].operator),
        }
    }
}
