//! Operators that move values without changing them.
//!
//! Owns shapes, orders, parts and joins of tensors of any type; one file per theme.
//! Refuses to compute with the values. Bound: what a run writes is limited by the context; for
//! known sizes nothing is allocated.

mod blocks;
mod concat;
mod expand;
mod gather;
mod pad;
mod reshape;
mod scatter;
mod scatter_places;
mod slice;
#[cfg(test)]
mod tests;
mod transpose;

use super::registry::Family;

/// The families here.
pub const FAMILIES: &[Family] = &[
    blocks::OPERATORS,
    concat::OPERATORS,
    expand::OPERATORS,
    gather::OPERATORS,
    pad::OPERATORS,
    reshape::OPERATORS,
    scatter::OPERATORS,
    slice::OPERATORS,
    transpose::OPERATORS,
];
