//! Decision trees: which leaf each row of numbers reaches in each tree.
//!
//! Owns the forms of trees that are walked fast and the walks, which are the same on every host.
//! Refuses to know what a leaf is worth, attributes and tensors.
//! Bound: [`NODE_COUNT_MAX`] nodes; a walk ends after as many steps as the tree is deep.

mod keys;
mod pack;
mod packed;
mod plain;
mod source;
#[cfg(test)]
mod tests;
mod walk;

pub use keys::{BLOCK_ROWS, KeyRows};
pub use packed::Packed;
pub use plain::Plain;
pub use source::{Branch, DEPTH_MAX, NODE_COUNT_MAX, SourceNode, SourceTree, Test, Threshold};
