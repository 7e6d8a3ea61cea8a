//! Operators of attention: positions that look at others, and angles that say where they are.
//!
//! Owns heads, masks and caches of keys and values. Refuses to know how a model is made of them.
//! Bound: the scores of one head are in memory at a time.

mod bias;
mod cached;
mod heads;
mod operator;
mod rotary;
mod settings;
mod shares;
#[cfg(test)]
mod tests;

use super::registry::Family;

/// The families of this folder.
pub const FAMILIES: &[Family] = &[operator::OPERATORS, rotary::OPERATORS];
