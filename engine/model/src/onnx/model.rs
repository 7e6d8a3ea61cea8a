//! Owns the reading of `ModelProto`: versions, where it comes from, its graph.
//!
//! Refuses versions that it does not know and functions that are used; training is ignored.
//! Bound: what the parts of a model state, and [`IMPORT_COUNT_MAX`] imports.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use super::graph;
use super::node;
use super::tensor;
use super::wire::{Reader, Value};
use crate::error::ModelError;
use crate::graph::Graph;

/// Versions of the file format that are read.
pub const IR_VERSIONS: RangeInclusive<i64> = 3..=13;
/// The oldest version of `ai.onnx` that is read.
pub const OPSET_MIN: u32 = 7;
/// The newest version of `ai.onnx` that is read.
pub const OPSET_MAX: u32 = 26;
/// The newest version of `ai.onnx.ml` that is read; the oldest is 1.
pub const OPSET_ML_MAX: u32 = 5;

const IMPORT_COUNT_MAX: usize = 64;
const ML_DOMAIN: &str = "ai.onnx.ml";

/// A model as its file describes it.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it computes.
    pub graph: Graph,
    /// The name of the graph.
    pub name: String,
    /// The program that wrote it, with its version; may be empty.
    pub producer: String,
    /// What the author says about it; may be empty.
    pub description: String,
    /// Whatever else its author noted.
    pub notes: BTreeMap<String, String>,
}

#[derive(Default)]
struct Fields<'a> {
    ir_version: i64,
    producer: &'a str,
    producer_version: &'a str,
    description: &'a str,
    graph: Option<&'a [u8]>,
    imports: BTreeMap<&'a str, i64>,
    notes: BTreeMap<String, String>,
    functions: HashSet<(&'a str, &'a str)>,
}

/// Reads a model.
///
/// # Errors
/// [`ModelError::Container`] for bytes that are none, [`ModelError::Graph`] for a graph that is
/// none, [`ModelError::Tensor`] for a constant that cannot be, [`ModelError::Unsupported`] for what
/// this engine does not run.
pub fn parse(bytes: &[u8]) -> Result<Model, ModelError> {
    let mut reader = Reader::new("ONNX model", bytes);
    let mut fields = Fields::default();
    while let Some((field, value)) = reader.next()? {
        take(&reader, &mut fields, field, value)?;
    }
    if !IR_VERSIONS.contains(&fields.ir_version) {
        let found = format!("of format version {}", fields.ir_version);
        let (first, last) = IR_VERSIONS.into_inner();
        return Err(reader.wrong(found, format!("{first} to {last}")));
    }
    let bytes = fields.graph.ok_or_else(|| reader.wrong("without a graph", "one"))?;
    let opset = version(&fields, "", OPSET_MIN..=OPSET_MAX)?;
    let opset_ml = version(&fields, ML_DOMAIN, 1..=OPSET_ML_MAX)?;
    let (mut graph, name) = graph::read(bytes)?;
    graph.opset = opset.unwrap_or_default();
    graph.opset_ml = opset_ml.unwrap_or_default();
    for (index, node) in graph.nodes.iter().enumerate() {
        let domain = node.domain.as_str();
        if !fields.imports.contains_key(domain) {
            let reason = "the file does not say which version of its operators it means";
            return Err(node::refuse(index, node, reason.to_owned()));
        }
        if fields.functions.contains(&(domain, node.operator.as_str())) {
            let reason = "the file defines it as a function; export it inlined";
            return Err(node::refuse(index, node, reason.to_owned()));
        }
    }
    graph.prune();
    let producer = format!("{} {}", fields.producer, fields.producer_version);
    Ok(Model {
        graph,
        name,
        producer: producer.trim().to_owned(),
        description: fields.description.to_owned(),
        notes: fields.notes,
    })
}

fn take<'a>(
    reader: &Reader<'a>,
    fields: &mut Fields<'a>,
    field: u32,
    value: Value<'a>,
) -> Result<(), ModelError> {
    match field {
        1 => fields.ir_version = reader.int(field, value)?,
        2 => fields.producer = tensor::name(reader, field, value)?,
        3 => fields.producer_version = tensor::name(reader, field, value)?,
        6 => fields.description = reader.text(field, value)?,
        7 if fields.graph.is_some() => return Err(reader.wrong("with two graphs", "one")),
        7 => fields.graph = Some(reader.bytes(field, value)?),
        8 => {
            let mut inner = Reader::new("operator set", reader.bytes(field, value)?);
            let (mut domain, mut version) = ("", 0);
            while let Some((field, value)) = inner.next()? {
                match field {
                    1 => domain = tensor::name(&inner, field, value)?,
                    2 => version = inner.int(field, value)?,
                    _ => {}
                }
            }
            let domain = if domain == "ai.onnx" { "" } else { domain };
            if fields.imports.len() == IMPORT_COUNT_MAX {
                let expected = format!("at most {IMPORT_COUNT_MAX}");
                return Err(inner.wrong("one of more", expected));
            }
            if fields.imports.insert(domain, version).is_some_and(|before| before != version) {
                return Err(inner.wrong(format!("`{domain}` in two versions"), "one"));
            }
        }
        14 => {
            let mut inner = Reader::new("metadata", reader.bytes(field, value)?);
            let (mut key, mut text) = ("", "");
            while let Some((field, value)) = inner.next()? {
                match field {
                    1 => key = tensor::name(&inner, field, value)?,
                    2 => text = inner.text(field, value)?,
                    _ => {}
                }
            }
            fields.notes.insert(key.to_owned(), text.to_owned());
        }
        25 => {
            let mut inner = Reader::new("function", reader.bytes(field, value)?);
            let (mut domain, mut name) = ("", "");
            while let Some((field, value)) = inner.next()? {
                match field {
                    1 => name = tensor::name(&inner, field, value)?,
                    10 => domain = tensor::name(&inner, field, value)?,
                    _ => {}
                }
            }
            fields.functions.insert((if domain == "ai.onnx" { "" } else { domain }, name));
        }
        _ => {}
    }
    Ok(())
}

/// The version that the file means of a domain's operators, if it uses them.
fn version(
    fields: &Fields<'_>,
    domain: &str,
    known: RangeInclusive<u32>,
) -> Result<Option<u32>, ModelError> {
    let Some(found) = fields.imports.get(domain) else { return Ok(None) };
    let version = u32::try_from(*found).ok().filter(|version| known.contains(version));
    match version {
        Some(version) => Ok(Some(version)),
        None => Err(ModelError::Unsupported {
            operator: if domain.is_empty() { "ai.onnx" } else { domain }.to_owned(),
            place: "its operator sets".to_owned(),
            reason: format!(
                "version {found}, where {} to {} are known",
                known.start(),
                known.end()
            ),
        }),
    }
}
