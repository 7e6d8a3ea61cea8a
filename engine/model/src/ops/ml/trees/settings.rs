//! Owns the reading of settings that the operators of trees share.
//!
//! Refuses lists whose lengths differ. Bound: as long as the lists.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::trees::Threshold;
use crate::ops::support::Wide;
use crate::tensor::{DType, Element};

/// What trees compute in: binary64 for inputs of binary64, binary32 for all others.
pub trait Number: Wide + Threshold + Element {}

impl Number for f32 {}
impl Number for f64 {}

/// The type of the input, one of the four that trees take.
pub fn input_type(view: &NodeView<'_>) -> Result<DType, ModelError> {
    view.dtype_among(0, &[DType::F32, DType::F64, DType::I64, DType::I32])
}

/// Numbers that stand in one of two settings, a list or a tensor of the type that is computed in.
pub fn numbers<T: Number>(view: &NodeView<'_>, name: &str) -> Result<Vec<T>, ModelError> {
    let list = view.floats(name)?.filter(|list| !list.is_empty());
    let tensor_name = format!("{name}_as_tensor");
    match (list, view.tensor(&tensor_name)?) {
        (None, None) => Ok(Vec::new()),
        (Some(list), None) => Ok(list.iter().map(|value| T::of(f64::from(*value))).collect()),
        (None, Some(tensor)) => match tensor.values::<T>() {
            Some(values) => Ok(values.to_vec()),
            None => Err(view.refuse(format_args!(
                "`{tensor_name}` is of type {}, the trees are of {}",
                tensor.dtype(),
                T::DTYPE
            ))),
        },
        (Some(_), Some(_)) => Err(view.refuse(format_args!("`{name}` is given twice"))),
    }
}

/// Whole numbers, none if the setting is not there.
pub fn ints<'a>(view: &NodeView<'a>, name: &str) -> Result<&'a [i64], ModelError> {
    Ok(view.ints(name)?.unwrap_or_default())
}

/// Refuses lists that are not of one length.
pub fn same_lengths(
    view: &NodeView<'_>,
    count: usize,
    lists: &[(&str, usize)],
) -> Result<(), ModelError> {
    match lists.iter().find(|(_, length)| *length != count) {
        None => Ok(()),
        Some((name, length)) => {
            Err(view
                .refuse(format_args!("`{name}` has {length} values, others of its lists {count}")))
        }
    }
}
