//! Operators whose result's size depends on values.
//!
//! Owns the largest, the different, the non-zero and the boxes that do not overlap.
//! Refuses text where there is no order among numbers to go by. Bound: a sort of the values.

mod boxes;
mod non_zero;
#[cfg(test)]
mod tests;
mod top_k;
mod unique;

use super::registry::Family;

/// The families here.
pub const FAMILIES: &[Family] =
    &[boxes::OPERATORS, non_zero::OPERATORS, top_k::OPERATORS, unique::OPERATORS];
