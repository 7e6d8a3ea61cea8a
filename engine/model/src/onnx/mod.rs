//! ONNX files: from the bytes of a model to its graph.
//!
//! Owns the reading of protobuf as far as ONNX needs it, and which parts of the format this engine
//! accepts: one graph of tensors, whole in one file, without subgraphs, functions and sequences.
//! Refuses to know operators: what they take and whether they exist is seen when a program is
//! built.
//! Bound: messages nest as deep as the readers here call each other, which is fixed; nothing is
//! made larger than a small multiple of the bytes that describe it.

mod attribute;
mod graph;
mod model;
mod node;
mod port;
mod tensor;
#[cfg(test)]
mod tests;
mod wire;

pub use model::{IR_VERSIONS, Model, OPSET_MAX, OPSET_MIN, OPSET_ML_MAX, parse};
pub use tensor::tensor;
