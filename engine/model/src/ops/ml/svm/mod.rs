//! The operators of support vector machines.
//!
//! Owns the kernels, the votes of pairs of classes and their probabilities.
//! Refuses what ONNX Runtime answers by the wrong rule. Bound: rows by support vectors.

mod classifier;
mod machine;
mod probability;
mod regressor;

use crate::ops::registry::Family;

/// This family.
pub const OPERATORS: Family = &[classifier::OPERATOR, regressor::OPERATOR];
