//! The artifact: one file for every kind of model, loaded without a conversion at the request.
//!
//! Owns what stands in the file: the graph, what callers give and get ([`Signature`]), an optional
//! tokenizer and optional sample inputs.
//! Refuses to know how a graph is computed and who asks.
//! Bound: files by [`truststram_base::limits::MODEL_FILE_BYTES_MAX`]; every length, offset and
//! index of the file is checked before memory is taken for it.

mod archive;
mod dense;
mod file;
mod graph_text;
mod import;
mod inputs;
mod signature;

pub use dense::graph_of_dense;
pub use file::{Artifact, GRAPH_KEY, TOKENIZER_TENSOR};
pub use import::{Format, Summary};
pub use signature::{Signature, SignaturePort, Task, TokenInput};

#[cfg(test)]
mod tests;
