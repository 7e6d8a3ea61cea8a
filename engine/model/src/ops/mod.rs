//! The operators: what each node computes, by its definition.
//!
//! Owns the table of the operators that can be run; one file per family. A node whose operator,
//! settings or types are not exactly known is refused when the program is built, never guessed.
//! Refuses to know graphs beyond one node, files and requests. Bound: what a run writes is limited
//! by [`crate::program::Context::shape`].

mod attention;
mod elementwise;
mod image;
mod layout;
mod make;
mod ml;
mod numeric;
mod own;
mod recurrent;
mod registry;
mod select;
mod signal;
mod spatial;
mod support;
mod text;

pub use ml::class_labels;
pub use registry::find;
