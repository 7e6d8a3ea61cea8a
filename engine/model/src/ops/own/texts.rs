//! Owns the check of the offsets between the texts of a batch.
//!
//! Refuses to know what is done with the texts. Bound: one look at each offset.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::program::{Inputs, RunError};
use crate::tensor::DType;

/// The offsets `[texts + 1]` in the input `index`: from 0 to `tokens`, each text at least one
/// token long.
///
/// # Errors
/// [`RunError::Input`] says what is wrong.
pub fn offsets<'a>(
    inputs: &Inputs<'a>,
    index: usize,
    tokens: usize,
) -> Result<&'a [u32], RunError> {
    let (shape, offsets) = inputs.values::<u32>(index)?;
    let ([first, .., last], 1) = (offsets, shape.len()) else {
        return Err(RunError::input(format_args!("offsets of shape {shape}"), "[texts + 1]"));
    };
    if *first != 0 || *last as usize != tokens {
        let expected = format_args!("from 0 to {tokens}");
        return Err(RunError::input(format_args!("offsets from {first} to {last}"), expected));
    }
    match offsets.windows(2).position(|pair| pair[0] >= pair[1]) {
        None => Ok(offsets),
        Some(text) => {
            let found = format_args!("text {text} from {} to {}", offsets[text], offsets[text + 1]);
            Err(RunError::input(found, "at least one token"))
        }
    }
}

/// Rows `[rows, columns]` of f32 in an input.
///
/// # Errors
/// [`RunError::Input`] if it is no matrix of this width.
pub fn rows<'a>(
    inputs: &Inputs<'a>,
    index: usize,
    columns: usize,
) -> Result<(usize, &'a [f32]), RunError> {
    let (shape, values) = inputs.values::<f32>(index)?;
    match **shape {
        [rows, found] if found == columns => Ok((rows, values)),
        _ => Err(RunError::input(shape, format_args!("rows of {columns} values"))),
    }
}

/// A matrix `[rows, columns]` of f32 in an input.
///
/// # Errors
/// [`RunError::Input`] if it is none.
pub fn matrix<'a>(
    inputs: &Inputs<'a>,
    index: usize,
) -> Result<(usize, usize, &'a [f32]), RunError> {
    let (shape, values) = inputs.values::<f32>(index)?;
    match **shape {
        [rows, columns] => Ok((rows, columns, values)),
        _ => Err(RunError::input(shape, "rows of values")),
    }
}

/// Refuses a node whose inputs are not of these types; absent ones are left aside.
///
/// # Errors
/// [`ModelError::Unsupported`] names the input.
pub fn typed(view: &NodeView<'_>, dtypes: &[DType]) -> Result<(), ModelError> {
    for (index, dtype) in dtypes.iter().enumerate() {
        if view.has_input(index) {
            view.dtype_among(index, &[*dtype])?;
        }
    }
    Ok(())
}
