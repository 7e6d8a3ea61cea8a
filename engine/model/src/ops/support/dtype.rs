//! Owns the reading of settings that name a type.
//!
//! Refuses types that tensors here do not have. Bound: one lookup.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::tensor::DType;

/// The type that a setting names; none if it is not there.
///
/// # Errors
/// [`ModelError::Unsupported`] for a type that is not computed here.
pub fn dtype_setting(view: &NodeView<'_>, name: &str) -> Result<Option<DType>, ModelError> {
    let Some(number) = view.int(name)? else { return Ok(None) };
    let unknown = || view.refuse(format_args!("`{name}` {number} is no type here"));
    DType::of_onnx(number).map(Some).ok_or_else(unknown)
}
