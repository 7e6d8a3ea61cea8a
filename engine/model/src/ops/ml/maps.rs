//! Owns the refusal of operators that take maps in.
//!
//! Refuses all of them. Bound: nothing is computed.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::program::Built;

/// This family.
pub const OPERATORS: Family =
    &[("ai.onnx.ml", "CastMap", refuse), ("ai.onnx.ml", "DictVectorizer", refuse)];

fn refuse(view: &NodeView<'_>) -> Result<Built, ModelError> {
    Err(view.refuse("its input is a map, and only tensors go in and come out"))
}
