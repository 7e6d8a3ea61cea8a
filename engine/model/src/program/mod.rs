//! The program: a graph with a kernel chosen for each node, weights packed, buffers planned.
//!
//! Owns the seam that operators fill ([`Operator`]), the building of programs and their sessions.
//! Refuses to know what any operator computes, files and requests.
//! Bound: a program is built once per NUMA node and never changes; a session belongs to one worker
//! and keeps its buffers, at most [`BuildOptions::session_bytes_max`] of them.

mod build;
mod memory;
mod operator;
mod session;
#[cfg(test)]
mod tests;

pub use build::{BuildOptions, Program};
pub use memory::{MemoryReport, NodeBytes};
pub use operator::{Build, Built, Context, Inputs, Operator, RunError, Scratch};
pub use session::{Session, evaluate, evaluate_by};
