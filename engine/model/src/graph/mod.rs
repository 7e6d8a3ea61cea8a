//! The graph: what a model computes, as importers produce it and before anything is chosen.
//!
//! Owns values, nodes, attributes and constants, and the checks that a graph is one: every value
//! made once and before it is used.
//! Refuses to know how an operator is computed and where a graph comes from.
//! Bound: [`NODE_COUNT_MAX`] nodes, [`VALUE_COUNT_MAX`] values.

mod attribute;
mod node_view;
mod parts;
mod prune;

pub use attribute::Attribute;
pub use node_view::NodeView;
pub use parts::{Dim, Graph, NODE_COUNT_MAX, Node, Port, VALUE_COUNT_MAX, Value, ValueId};
