//! The kernels: what is computed in a loop over numbers, once per instruction set.
//!
//! Owns the choice of the instruction set and the only `unsafe` code of this crate.
//! Refuses to know graphs, tensors and requests: slices in, slices out.
//! Bound: every kernel checks the lengths of its slices before it reads the first value.

mod isa;
mod team;

pub use isa::Isa;
pub use team::{Alone, Team};
