//! The operators of the domain `truststram`, which only this engine has.
//!
//! Owns what the passes fuse several operators into, and the layers of text encoders.
//! Refuses to know when they do. Bound: as every operator.

mod attention;
mod embed;
pub mod linear;
mod pool;
mod residual_norm;
mod scale;
#[cfg(test)]
mod tests;
mod texts;

use super::registry::Family;

/// The families of this folder.
pub const FAMILIES: &[Family] = &[
    attention::OPERATORS,
    embed::OPERATORS,
    linear::OPERATORS,
    pool::OPERATORS,
    residual_norm::OPERATORS,
    scale::OPERATORS,
];
