//! Owns the reading of `NodeProto`.
//!
//! Refuses to know what operators compute, except `Constant`, which is a value and no computation.
//! Bound: [`PORT_COUNT_MAX`] inputs and outputs, [`ATTRIBUTE_COUNT_MAX`] settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attribute;
use super::tensor;
use super::wire::Reader;
use crate::error::ModelError;
use crate::graph::{Attribute, Node};
use crate::tensor::Tensor;

/// Most inputs, and most outputs, of a node.
const PORT_COUNT_MAX: usize = 4_096;
/// Most settings of a node.
const ATTRIBUTE_COUNT_MAX: usize = 128;

/// A node whose inputs and outputs are still names; absent ones are empty.
pub(super) struct NodeInfo<'a> {
    /// The node without its inputs and outputs.
    pub node: Node,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
}

/// Reads the node at `index`.
pub(super) fn read(index: usize, bytes: &[u8]) -> Result<NodeInfo<'_>, ModelError> {
    let mut reader = Reader::new("node", bytes);
    let mut info = NodeInfo { node: Node::default(), inputs: vec![], outputs: vec![] };
    let mut attributes = BTreeMap::new();
    let (mut unknown, mut overload) = (None, "");
    while let Some((field, value)) = reader.next()? {
        match field {
            1 | 2 => {
                let ports = if field == 1 { &mut info.inputs } else { &mut info.outputs };
                if ports.len() == PORT_COUNT_MAX {
                    let expected = format!("at most {PORT_COUNT_MAX}");
                    return Err(reader.wrong("one with more inputs or outputs", expected));
                }
                ports.push(tensor::name(&reader, field, value)?);
            }
            3 => info.node.name = tensor::name(&reader, field, value)?.to_owned(),
            4 => info.node.operator = tensor::name(&reader, field, value)?.to_owned(),
            5 => {
                if attributes.len() == ATTRIBUTE_COUNT_MAX {
                    let expected = format!("at most {ATTRIBUTE_COUNT_MAX}");
                    return Err(reader.wrong("one with more attributes", expected));
                }
                let (name, twice) = match attribute::read(reader.bytes(field, value)?)? {
                    attribute::Read::Known(name, attribute) => {
                        (name, attributes.insert(name.to_owned(), attribute).is_some())
                    }
                    attribute::Read::Unknown(name, what) => {
                        unknown = Some(format!("attribute `{name}` is {what}"));
                        (name, false)
                    }
                };
                if twice {
                    return Err(reader.wrong(format!("one with `{name}` twice"), "once"));
                }
            }
            7 => info.node.domain = tensor::name(&reader, field, value)?.to_owned(),
            8 => overload = tensor::name(&reader, field, value)?,
            _ => {}
        }
    }
    if info.node.operator.is_empty() {
        return Err(reader.wrong(format!("number {index} without an operator"), "one"));
    }
    if info.node.domain == "ai.onnx" {
        info.node.domain.clear();
    }
    info.node.attributes = attributes;
    if let Some(reason) = unknown {
        return Err(refuse(index, &info.node, reason));
    }
    if !overload.is_empty() {
        return Err(refuse(index, &info.node, format!("it is an overload, `{overload}`")));
    }
    Ok(info)
}

/// The complaint that a node cannot be run.
pub(super) fn refuse(index: usize, node: &Node, reason: String) -> ModelError {
    let operator = match node.domain.as_str() {
        "" => node.operator.clone(),
        domain => format!("{domain}.{}", node.operator),
    };
    let place = match node.name.is_empty() {
        true => format!("node {index}"),
        false => format!("node {index} `{}`", node.name),
    };
    ModelError::Unsupported { operator, place, reason }
}

/// The value of a node that is a constant.
pub(super) fn constant(index: usize, node: &mut Node) -> Result<Arc<Tensor>, ModelError> {
    let mut attributes = std::mem::take(&mut node.attributes).into_iter();
    let (Some((name, attribute)), None) = (attributes.next(), attributes.next()) else {
        return Err(refuse(index, node, "it needs one value".to_owned()));
    };
    let tensor = match (name.as_str(), attribute) {
        ("value", Attribute::Tensor(tensor)) => return Ok(tensor),
        ("value_float", Attribute::Float(value)) => Some(Tensor::scalar(value)),
        ("value_int", Attribute::Int(value)) => Some(Tensor::scalar(value)),
        ("value_string", Attribute::String(value)) => Some(Tensor::scalar(value)),
        ("value_floats", Attribute::Floats(values)) => Tensor::of(&[values.len()], values),
        ("value_ints", Attribute::Ints(values)) => Tensor::of(&[values.len()], values),
        ("value_strings", Attribute::Strings(values)) => Tensor::of(&[values.len()], values),
        _ => None,
    };
    let refused = || refuse(index, node, format!("attribute `{name}` is no value of it"));
    tensor.map(Arc::new).ok_or_else(refused)
}
