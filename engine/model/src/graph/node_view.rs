//! Owns what the builder of an operator sees: one node, the types of its inputs, its settings.
//!
//! Refuses to know how operators compute. Bound: borrows from the graph; complaints name the node.

use std::fmt::Display;
use std::sync::Arc;

use super::attribute::Attribute;
use super::parts::{Graph, Node};
use crate::error::ModelError;
use crate::program::BuildOptions;
use crate::tensor::{DType, Element, Tensor};

/// See the module.
#[derive(Clone, Copy)]
pub struct NodeView<'a> {
    graph: &'a Graph,
    index: usize,
    /// By value; none where not yet made.
    types: &'a [Option<DType>],
    options: &'a BuildOptions,
}

impl<'a> NodeView<'a> {
    /// The node at `index`, whose inputs have the `types` of their values.
    pub fn new(
        graph: &'a Graph,
        index: usize,
        types: &'a [Option<DType>],
        options: &'a BuildOptions,
    ) -> Self {
        Self { graph, index, types, options }
    }

    /// The node.
    pub fn node(&self) -> &'a Node {
        &self.graph.nodes[self.index]
    }

    /// What the program is built for.
    pub fn options(&self) -> &'a BuildOptions {
        self.options
    }

    /// The version of the operators of `ai.onnx`.
    pub fn opset(&self) -> u32 {
        self.graph.opset
    }

    /// How many inputs are written down, absent ones included.
    pub fn input_count(&self) -> usize {
        self.node().inputs.len()
    }

    /// How many outputs are written down, absent ones included.
    pub fn output_count(&self) -> usize {
        self.node().outputs.len()
    }

    /// Whether an input is there.
    pub fn has_input(&self, index: usize) -> bool {
        self.node().inputs.get(index).is_some_and(Option::is_some)
    }

    /// Whether somebody may use an output.
    pub fn has_output(&self, index: usize) -> bool {
        self.node().outputs.get(index).is_some_and(Option::is_some)
    }

    /// The type of an input.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if there is none.
    pub fn dtype(&self, index: usize) -> Result<DType, ModelError> {
        let id = self.node().inputs.get(index).copied().flatten();
        let dtype = id.and_then(|id| self.types[id.0 as usize]);
        dtype.ok_or_else(|| self.refuse(format_args!("input {index} is missing")))
    }

    /// The tensor of an input, if it is there and constant.
    pub fn constant(&self, index: usize) -> Option<&'a Arc<Tensor>> {
        self.graph.constant(self.node().inputs.get(index).copied().flatten()?)
    }

    /// The values of a constant input.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if it is there and not constant or of another type.
    pub fn constant_values<T: Element>(&self, index: usize) -> Result<Option<&'a [T]>, ModelError> {
        if !self.has_input(index) {
            return Ok(None);
        }
        let values = self.constant(index).and_then(|tensor| tensor.values::<T>());
        let wanted = T::DTYPE;
        let refused = || self.refuse(format_args!("input {index} is no constant of type {wanted}"));
        values.map(Some).ok_or_else(refused)
    }

    /// A setting.
    pub fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.node().attributes.get(name)
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if it is something else.
    pub fn int(&self, name: &str) -> Result<Option<i64>, ModelError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Int(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong_kind(name, other, "a whole number")),
        }
    }

    /// A whole number, or `default`.
    ///
    /// # Errors
    /// As [`NodeView::int`].
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64, ModelError> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// A number.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if it is something else.
    pub fn float(&self, name: &str) -> Result<Option<f32>, ModelError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Float(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong_kind(name, other, "a number")),
        }
    }

    /// A number, or `default`.
    ///
    /// # Errors
    /// As [`NodeView::float`].
    pub fn float_or(&self, name: &str, default: f32) -> Result<f32, ModelError> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    /// Text.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if it is something else.
    pub fn string(&self, name: &str) -> Result<Option<&'a str>, ModelError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::String(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong_kind(name, other, "text")),
        }
    }

    /// Whole numbers.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if it is something else.
    pub fn ints(&self, name: &str) -> Result<Option<&'a [i64]>, ModelError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values)),
            Some(other) => Err(self.wrong_kind(name, other, "whole numbers")),
        }
    }

    /// Numbers.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if it is something else.
    pub fn floats(&self, name: &str) -> Result<Option<&'a [f32]>, ModelError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Floats(values)) => Ok(Some(values)),
            Some(other) => Err(self.wrong_kind(name, other, "numbers")),
        }
    }

    /// Texts.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if it is something else.
    pub fn strings(&self, name: &str) -> Result<Option<&'a [String]>, ModelError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Strings(values)) => Ok(Some(values)),
            Some(other) => Err(self.wrong_kind(name, other, "texts")),
        }
    }

    /// A tensor.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if it is something else.
    pub fn tensor(&self, name: &str) -> Result<Option<&'a Arc<Tensor>>, ModelError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Tensor(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong_kind(name, other, "a tensor")),
        }
    }

    /// Refuses the node if it has a setting that is none of these, for its meaning is unknown.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] names the setting.
    pub fn only_attributes(&self, known: &[&str]) -> Result<(), ModelError> {
        match self.node().attributes.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(self.refuse(format_args!("attribute `{name}` is not known"))),
        }
    }

    /// Refuses the node if the type of an input is none of these.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] names the input and the type.
    pub fn dtype_among(&self, index: usize, known: &[DType]) -> Result<DType, ModelError> {
        let dtype = self.dtype(index)?;
        match known.contains(&dtype) {
            true => Ok(dtype),
            false => {
                Err(self.refuse(format_args!("input {index} of type {dtype} is not computed")))
            }
        }
    }

    /// The complaint that this node cannot be run.
    pub fn refuse(&self, reason: impl Display) -> ModelError {
        let node = self.node();
        let operator = match node.domain.as_str() {
            "" => node.operator.clone(),
            domain => format!("{domain}.{}", node.operator),
        };
        ModelError::Unsupported {
            operator,
            place: self.graph.place(self.index),
            reason: reason.to_string(),
        }
    }

    fn wrong_kind(&self, name: &str, found: &Attribute, expected: &str) -> ModelError {
        let found = found.kind();
        self.refuse(format_args!("attribute `{name}` is {found}, expected {expected}"))
    }
}
