//! The operators of `ai.onnx.ml`: trees, linear models, support vectors and what prepares features.
//!
//! Owns their meaning as ONNX Runtime has it, where the definition leaves something open.
//! Refuses maps, which are no tensors: a `ZipMap` gives the scores as they are, and
//! [`class_labels`] says whose they are. Bound: one pass over the rows.

mod encoders;
mod features;
mod labels;
mod linear;
mod maps;
mod places;
mod rows;
mod scores;
mod svm;
#[cfg(test)]
mod tests;
mod trees;
mod zip_map;

pub use labels::class_labels;

use super::registry::Family;

/// The families here.
pub const FAMILIES: &[Family] = &[
    encoders::OPERATORS,
    features::OPERATORS,
    linear::OPERATORS,
    maps::OPERATORS,
    places::OPERATORS,
    svm::OPERATORS,
    trees::OPERATORS,
    zip_map::OPERATORS,
];
