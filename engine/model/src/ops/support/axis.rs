//! Owns the meaning of axes, which count from the end when negative, and of settings by opset.
//!
//! Refuses to know operators. Bound: one comparison.

use super::few::Few;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::program::RunError;

/// The axis that a number names; negative ones count from the end.
///
/// # Errors
/// [`RunError::Input`] if there is none.
pub fn axis(value: i64, rank: usize) -> Result<usize, RunError> {
    let wrong = || RunError::input(format_args!("axis {value}"), format_args!("one of {rank}"));
    let counted = if value < 0 { value.checked_add(rank as i64) } else { Some(value) };
    let index = counted.and_then(|value| usize::try_from(value).ok());
    index.filter(|index| *index < rank).ok_or_else(wrong)
}

/// As [`axis`], where the end after the last axis can be named too.
///
/// # Errors
/// [`RunError::Input`] if there is none.
pub fn axis_or_end(value: i64, rank: usize) -> Result<usize, RunError> {
    if value == rank as i64 { Ok(rank) } else { axis(value, rank) }
}

/// The axes that numbers name, each once.
///
/// # Errors
/// [`RunError::Input`] if one is not there or named twice.
pub fn unique_axes(values: &[i64], rank: usize) -> Result<Few<usize>, RunError> {
    let mut axes = Few::<usize>::new();
    for value in values {
        let axis = axis(*value, rank)?;
        if axes.contains(&axis) {
            return Err(RunError::input(format_args!("axis {axis} twice"), "once"));
        }
        axes.push(axis)?;
    }
    Ok(axes)
}

/// Refuses axes that no tensor has, and more than there are, while the program is built.
///
/// # Errors
/// [`ModelError::Unsupported`].
pub fn check_axes(view: &NodeView<'_>, axes: &[i64]) -> Result<(), ModelError> {
    let rank = crate::tensor::RANK_MAX as i64;
    let fits = axes.len() <= crate::tensor::RANK_MAX;
    match fits && axes.iter().all(|axis| (-rank..rank).contains(axis)) {
        true => Ok(()),
        false => Err(view.refuse(format_args!("axes {axes:?} are beyond {rank} dimensions"))),
    }
}

/// Refuses settings that the node's opset does not know: each stands with the first and the last
/// opset that has it.
///
/// # Errors
/// [`ModelError::Unsupported`].
pub fn allowed(view: &NodeView<'_>, known: &[(&str, u32, u32)]) -> Result<(), ModelError> {
    let opset = view.opset();
    for name in view.node().attributes.keys() {
        let Some((_, first, last)) = known.iter().find(|(known, _, _)| known == name) else {
            return Err(view.refuse(format_args!("attribute `{name}` is not known")));
        };
        if !(*first..=*last).contains(&opset) {
            return Err(view.refuse(format_args!("opset {opset} has no attribute `{name}`")));
        }
    }
    Ok(())
}
