//! Owns the compression of answers for clients that accept it, and the reading of bodies that
//! clients have compressed.
//!
//! Refuses to know where an answer comes from: it is the last to see one. Bound: the state of one
//! encoder for each answer under way; a body that is read, by the limit of bodies.

mod accept;
mod arriving;
mod decode;
mod encoder;
mod module;
mod options;

pub(crate) use arriving::{Arriving, Piece};
pub(crate) use decode::{Decoded, codings, decode};
pub(crate) use module::{Builder, Compression};
pub(crate) use options::Compiled;
pub use options::{CompressionSpec, Encoding};
