//! Owns what the access log says of a request: JSON, nginx's `combined`, or a template with nginx's
//! variables.
//!
//! Refuses to write files. Bound: one line for each request.

mod format;
mod line;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use format::Access;
pub use format::{AccessSpec, COMBINED, Escape, FormatSpec, unknown_variable};
pub(crate) use line::Logged;
