//! Operators on text.
//!
//! Owns cleaning, joining, splitting and counting of words.
//! Refuses regular expressions. Bound: one pass over the text.

mod join;
mod normalize;
#[cfg(test)]
mod tests;
mod tf_idf;

use super::registry::Family;

/// The families here.
pub const FAMILIES: &[Family] = &[join::OPERATORS, normalize::OPERATORS, tf_idf::OPERATORS];
