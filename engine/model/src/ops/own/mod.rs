//! The operators of the domain `truststram`, which only this engine has.
//!
//! Owns what the passes fuse several operators into.
//! Refuses to know when they do. Bound: as every operator.

pub mod linear;
mod scale;

use super::registry::Family;

/// The families of this folder.
pub const FAMILIES: &[Family] = &[linear::OPERATORS, scale::OPERATORS];
