//! Owns the settings of a node.
//!
//! Refuses to know which operator takes which. Bound: as large as the file that it was read from.

use std::sync::Arc;

use crate::tensor::Tensor;

/// One setting, as ONNX types them.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f32),
    /// Text; ONNX does not promise UTF-8, the importer does.
    String(String),
    /// A tensor.
    Tensor(Arc<Tensor>),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Texts.
    Strings(Vec<String>),
}

impl Attribute {
    /// The name of its type, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::String(_) => "text",
            Self::Tensor(_) => "a tensor",
            Self::Ints(_) => "whole numbers",
            Self::Floats(_) => "numbers",
            Self::Strings(_) => "texts",
        }
    }
}
