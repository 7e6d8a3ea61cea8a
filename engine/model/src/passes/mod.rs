//! The passes: from the graph that an importer made to one that computes the same with less.
//!
//! Owns the folding of constants, the removal of what does nothing, and the fusion of neighbours
//! into operators that this engine has for them.
//! Refuses to change what a model computes: a fusion takes nodes together whose results nobody
//! else reads, and only where types and dimensions are known to be those that it is for.
//! Bound: [`ROUND_COUNT_MAX`] rounds over the nodes in each phase; constants grow by what
//! [`optimize`] states.

mod batch_norm;
mod fold;
mod gelu;
mod idle;
mod layer_norm;
mod linear;
mod matcher;
mod optimize;
#[cfg(test)]
mod tests;

pub use optimize::{ROUND_COUNT_MAX, optimize};
