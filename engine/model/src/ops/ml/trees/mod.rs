//! The operators of decision trees.
//!
//! Owns the reading of their settings, what leaves are worth and what becomes of the sums.
//! Refuses settings on which runtimes disagree. Bound: sums are taken in the order of the trees, so
//! that every instruction set gives the same.

mod classifier;
mod ensemble;
mod nodes;
mod regressor;
mod settings;
mod tree_ensemble;
mod worth;

use crate::ops::registry::Family;

/// This family.
pub const OPERATORS: Family = &[classifier::OPERATOR, regressor::OPERATOR, tree_ensemble::OPERATOR];
