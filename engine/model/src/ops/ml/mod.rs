//! The operators of `ai.onnx.ml`: trees, linear models, support vectors and what prepares features.
//!
//! Owns their meaning as ONNX Runtime has it, where the definition leaves something open.
//! Refuses maps, which are no tensors: a `ZipMap` gives the scores as they are, and
//! [`class_labels`] says whose they are. Bound: one pass over the rows.

mod labels;
mod rows;
mod scores;
mod trees;

pub use labels::class_labels;

use super::registry::Family;

/// The families here.
pub const FAMILIES: &[Family] = trees::FAMILIES;
