//! Floor 0: the decisions of the policies that ship, as plain functions over plain data.
//!
//! Owns the formulas, their settings and the data that they read, one module for each interface of
//! `wit/since_v0.1.0`. Each is compiled twice: into a component under `plugins/`, and into the
//! engine as the native default that answers when a plugin does not; a test holds the two against
//! each other. Refuses to know WASM, clocks and threads, and calls no function of the C library
//! whose last bit could differ between the two. Bound: time and memory linear in the input, or as
//! stated.

pub mod aggregation;
pub mod batching;
pub mod number;
pub mod placement;
mod random;
pub mod routing;
pub mod selection;
mod settings;
pub mod tuning;

pub use settings::parse;
