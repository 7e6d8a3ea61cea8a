//! The network while it is trained.
//!
//! Owns the layers, where their weights lie, and the passes forward and backward with buffers that
//! are kept from step to step.
//! Refuses to know losses, optimisers and where rows come from. Bound: buffers for the rows of one
//! step, weights in one slice.

#[cfg(test)]
mod against_candle;
mod conv;
mod layer;
mod pass;
mod product;
mod spec;
#[cfg(test)]
mod tests;

pub use layer::Net;
pub(crate) use layer::{Layer, Place};
pub use pass::Pass;
pub(crate) use pass::{Dropping, grow};
pub(crate) use product::{Products, Sizes};
pub(crate) use spec::refused;
pub use spec::{LayerActivation, LayerSpec, NetSpec, Precision};
