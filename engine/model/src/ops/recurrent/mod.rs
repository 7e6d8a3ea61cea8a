//! Operators that go through sequences step by step: RNN, LSTM and GRU.
//!
//! Owns their settings, their sizes and the step of each cell.
//! Refuses activations with parameters. Bound: one pass over each sequence and direction.

mod cell;
mod operator;
mod settings;
#[cfg(test)]
mod tests;

use super::registry::Family;

/// The families here.
pub const FAMILIES: &[Family] = &[operator::OPERATORS];
