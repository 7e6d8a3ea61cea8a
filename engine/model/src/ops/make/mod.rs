//! Operators that make tensors of little or nothing.
//!
//! Owns constants, sequences of numbers, shapes as values, windows; one file per theme.
//! Refuses random numbers. Bound: what a run writes is limited by the context.

mod constant;
mod one_hot;
mod range;
#[cfg(test)]
mod tests;
mod window;

use super::registry::Family;

/// The families here.
pub const FAMILIES: &[Family] =
    &[constant::OPERATORS, one_hot::OPERATORS, range::OPERATORS, window::OPERATORS];
