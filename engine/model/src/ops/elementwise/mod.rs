//! Operators that work value by value, on one tensor or on several broadcast against each other.
//!
//! Owns arithmetic, comparisons, activations and casts.
//! Refuses to know neighbours. Bound: one pass; what broadcasts walks by strides.

mod binary;
mod bit_cast;
mod cast;
mod choose;
mod functions;
mod pairs;
#[cfg(test)]
mod tests;
mod unary;
mod walk;
mod whole;

use super::registry::Family;

/// The families of this folder.
pub const FAMILIES: &[Family] = &[
    binary::OPERATORS,
    bit_cast::OPERATORS,
    cast::OPERATORS,
    choose::OPERATORS,
    functions::OPERATORS,
    unary::OPERATORS,
    whole::OPERATORS,
];
