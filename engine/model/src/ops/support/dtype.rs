//! Owns the numbers that ONNX gives to types, where a setting names one.
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
    Ok(Some(match number {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        8 => DType::String,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::Bf16,
        other => return Err(view.refuse(format_args!("`{name}` {other} is no type here"))),
    }))
}
