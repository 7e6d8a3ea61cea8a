//! The network while it is trained.
//!
//! Owns the layers, where their weights lie, and the passes forward and backward with buffers that
//! are kept from step to step.
//! Refuses to know losses, optimisers and where rows come from. Bound: buffers for the rows of one
//! step, weights in one slice.

#[cfg(test)]
mod against_candle;
mod back;
mod conv;
mod layer;
mod pass;
mod pool;
mod spec;
#[cfg(test)]
mod tests;

pub(crate) use layer::Layer;
pub use layer::Net;
pub(crate) use pass::Dropping;
pub use pass::Pass;
pub use spec::{LayerActivation, LayerSpec, NetSpec};
