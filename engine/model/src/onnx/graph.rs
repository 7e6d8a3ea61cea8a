//! Owns the reading of `GraphProto`: names become values, messages become nodes.
//!
//! Refuses sparse constants. Bound: [`NODE_COUNT_MAX`] nodes and [`VALUE_COUNT_MAX`] values,
//! counted before any is read.

use std::collections::HashMap;

use super::node::{self, NodeInfo};
use super::port;
use super::tensor;
use super::wire::Reader;
use crate::error::ModelError;
use crate::graph::{Graph, NODE_COUNT_MAX, Node, Port, VALUE_COUNT_MAX, ValueId};

/// The messages of a graph, not yet read.
#[derive(Default)]
struct Parts<'a> {
    nodes: Vec<&'a [u8]>,
    constants: Vec<&'a [u8]>,
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
}

/// Reads a graph and its name; the versions of its operators are the caller's.
pub(super) fn read(bytes: &[u8]) -> Result<(Graph, String), ModelError> {
    let mut reader = Reader::new("graph", bytes);
    let mut parts = Parts::default();
    let mut name = "";
    while let Some((field, value)) = reader.next()? {
        let (list, max) = match field {
            1 => (&mut parts.nodes, NODE_COUNT_MAX),
            2 => {
                name = tensor::name(&reader, 2, value)?;
                continue;
            }
            5 => (&mut parts.constants, VALUE_COUNT_MAX),
            11 => (&mut parts.inputs, VALUE_COUNT_MAX),
            12 => (&mut parts.outputs, VALUE_COUNT_MAX),
            15 => {
                return Err(ModelError::Unsupported {
                    operator: "sparse initializer".to_owned(),
                    place: "the constants".to_owned(),
                    reason: "constants are read when they are dense".to_owned(),
                });
            }
            _ => continue,
        };
        if list.len() == max {
            return Err(reader.wrong(format!("one of more than {max} parts"), "fewer"));
        }
        list.push(reader.bytes(field, value)?);
    }
    let mut names = Names { graph: Graph::default(), ids: HashMap::new() };
    names.read(&reader, &parts)?;
    Ok((names.graph, name.to_owned()))
}

/// A graph that grows, and the values of the names so far.
struct Names<'a> {
    graph: Graph,
    ids: HashMap<&'a str, ValueId>,
}

impl<'a> Names<'a> {
    fn read(&mut self, reader: &Reader<'_>, parts: &Parts<'a>) -> Result<(), ModelError> {
        for bytes in &parts.constants {
            let (name, tensor) = tensor::read(bytes)?;
            if name.is_empty() || self.ids.contains_key(name) {
                let found = format!("with a constant `{name}` that has no name of its own");
                return Err(reader.wrong(found, "different names"));
            }
            let id = self.value(reader, name)?;
            self.graph.values[id.0 as usize].constant = Some(tensor.into());
        }
        for bytes in &parts.inputs {
            let info = port::read(bytes)?;
            if info.is_zipped {
                return Err(port::refuse(info.name, "sequence"));
            }
            let value = self.value(reader, info.name)?;
            // An input with a value is that value unless somebody gives another; nobody does here.
            if self.graph.constant(value).is_none() {
                self.graph.inputs.push(Port { value, dtype: info.dtype, dims: info.dims });
            }
        }
        for (index, bytes) in parts.nodes.iter().enumerate() {
            self.add(reader, index, node::read(index, bytes)?)?;
        }
        for bytes in &parts.outputs {
            let info = port::read(bytes)?;
            let value = self.value(reader, info.name)?;
            if info.is_zipped && !self.zips(value) {
                return Err(port::refuse(info.name, "sequence"));
            }
            self.graph.outputs.push(Port { value, dtype: info.dtype, dims: info.dims });
        }
        self.graph.validate()
    }

    fn add(
        &mut self,
        reader: &Reader<'_>,
        index: usize,
        info: NodeInfo<'a>,
    ) -> Result<(), ModelError> {
        let NodeInfo { mut node, inputs, outputs } = info;
        // The version of our own operators is that of this program, not that of a file.
        if node.domain == Node::OWN_DOMAIN {
            let reason = "files cannot use this engine's own operators".to_owned();
            return Err(node::refuse(index, &node, reason));
        }
        if node.domain.is_empty() && node.operator == "Constant" {
            let tensor = node::constant(index, &mut node)?;
            let ([], [name]) = (inputs.as_slice(), outputs.as_slice()) else {
                let reason = "it has one output and no input".to_owned();
                return Err(node::refuse(index, &node, reason));
            };
            let fresh = !name.is_empty() && !self.ids.contains_key(name);
            let id = self.value(reader, name)?;
            if !fresh {
                let found = format!("with a constant `{name}` that has no name of its own");
                return Err(reader.wrong(found, "different names, made before they are used"));
            }
            self.graph.values[id.0 as usize].constant = Some(tensor);
            return Ok(());
        }
        node.inputs = self.ports(reader, &inputs)?;
        node.outputs = self.ports(reader, &outputs)?;
        for ports in [&mut node.inputs, &mut node.outputs] {
            // An absent port at the end is none.
            let count = ports.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            ports.truncate(count);
        }
        self.graph.nodes.push(node);
        Ok(())
    }

    fn ports(
        &mut self,
        reader: &Reader<'_>,
        names: &[&'a str],
    ) -> Result<Vec<Option<ValueId>>, ModelError> {
        let id = |name: &&'a str| match name.is_empty() {
            true => Ok(None),
            false => self.value(reader, name).map(Some),
        };
        names.iter().map(id).collect()
    }

    /// Whether a `ZipMap` makes the value.
    fn zips(&self, value: ValueId) -> bool {
        self.graph.nodes.iter().any(|node| {
            let is_zip_map = node.domain == "ai.onnx.ml" && node.operator == "ZipMap";
            is_zip_map && node.outputs.contains(&Some(value))
        })
    }

    /// The value of a name, made if it is new.
    fn value(&mut self, reader: &Reader<'_>, name: &'a str) -> Result<ValueId, ModelError> {
        if let Some(id) = self.ids.get(name) {
            return Ok(*id);
        }
        if self.graph.values.len() == VALUE_COUNT_MAX {
            let found = format!("one of more than {VALUE_COUNT_MAX} values");
            return Err(reader.wrong(found, "fewer"));
        }
        let id = self.graph.add_value(name);
        self.ids.insert(name, id);
        Ok(id)
    }
}
