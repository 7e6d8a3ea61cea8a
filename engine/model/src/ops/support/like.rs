//! Owns what a macro over all types needs to say that two tensors have the same one.
//!
//! Refuses to know the type. Bound: nothing is computed.

use crate::program::{Context, Inputs, RunError};
use crate::tensor::{Element, Shape, Tensor};

/// As [`Context::shape_as`], of the type that `like` has.
///
/// # Errors
/// [`RunError::TooLarge`].
pub fn shape_like<'o, T: Element>(
    context: &Context<'_>,
    output: &'o mut Tensor,
    dims: &[usize],
    _like: &[T],
) -> Result<&'o mut [T], RunError> {
    context.shape_as::<T>(output, dims)
}

/// As [`Inputs::values`], of the type that `like` has.
///
/// # Errors
/// [`RunError::Input`] if it is missing or of another type.
pub fn values_like<'a, T: Element>(
    inputs: &Inputs<'a>,
    index: usize,
    _like: &[T],
) -> Result<(&'a Shape, &'a [T]), RunError> {
    inputs.values::<T>(index)
}
