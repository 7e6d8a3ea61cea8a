//! Owns the reading of `AttributeProto`: a name, a type, and a value of that type.
//!
//! Refuses graphs, sparse tensors, lists of tensors, and references to a function's attributes.
//! Bound: as large as its bytes times a small constant.

use std::sync::Arc;

use super::tensor;
use super::wire::{Reader, Value};
use crate::error::ModelError;
use crate::graph::Attribute;
use crate::tensor::Tensor;

/// What became of an attribute.
pub(super) enum Read<'a> {
    /// A setting.
    Known(&'a str, Attribute),
    /// One that this engine has no place for: its name and what it is.
    Unknown(&'a str, String),
}

/// What the fields hold, whatever the type says.
#[derive(Default)]
struct Fields<'a> {
    name: &'a str,
    reference: &'a str,
    kind: i64,
    /// Bit `n` for a value of the type `n`.
    kinds: u32,
    float: f32,
    int: i64,
    string: &'a str,
    tensor: Option<Tensor>,
    floats: Vec<f32>,
    ints: Vec<i64>,
    strings: Vec<String>,
}

/// The types of attributes, by the field that holds their value.
fn kind_of(field: u32) -> Option<u32> {
    Some(match field {
        2 => 1,   // float
        3 => 2,   // int
        4 => 3,   // string
        5 => 4,   // tensor
        6 => 5,   // graph
        7 => 6,   // floats
        8 => 7,   // ints
        9 => 8,   // strings
        10 => 9,  // tensors
        11 => 10, // graphs
        22 => 11, // sparse tensor
        23 => 12, // sparse tensors
        14 => 13, // type
        15 => 14, // types
        _ => return None,
    })
}

fn kind_name(kind: i64) -> String {
    let known = match kind {
        0 => "of no type",
        1 => "a number",
        2 => "a whole number",
        3 => "text",
        4 => "a tensor",
        5 => "a graph",
        6 => "numbers",
        7 => "whole numbers",
        8 => "texts",
        9 => "tensors",
        10 => "graphs",
        11 => "a sparse tensor",
        12 => "sparse tensors",
        13 => "a type",
        14 => "types",
        _ => return format!("of type {kind}"),
    };
    known.to_owned()
}

/// Reads an attribute.
pub(super) fn read(bytes: &[u8]) -> Result<Read<'_>, ModelError> {
    let mut reader = Reader::new("attribute", bytes);
    let mut fields = Fields::default();
    while let Some((field, value)) = reader.next()? {
        if let Some(kind) = kind_of(field) {
            fields.kinds |= 1 << kind;
        }
        take(&reader, &mut fields, field, value)?;
    }
    let Fields { name, kind, .. } = fields;
    if name.is_empty() {
        return Err(reader.wrong("without a name", "one"));
    }
    if !fields.reference.is_empty() {
        return Ok(Read::Unknown(name, "a reference to a function's attribute".to_owned()));
    }
    // A value of 0 or an empty list may be left out; one of another type may not be there.
    if !(1..=14).contains(&kind) || fields.kinds & !(1 << kind) != 0 {
        let found = format!("`{name}`, {}, with another value", kind_name(kind));
        return Err(reader.wrong(found, "a value of its type"));
    }
    Ok(Read::Known(
        name,
        match kind {
            1 => Attribute::Float(fields.float),
            2 => Attribute::Int(fields.int),
            3 => Attribute::String(fields.string.to_owned()),
            4 => match fields.tensor {
                Some(tensor) => Attribute::Tensor(Arc::new(tensor)),
                None => return Err(reader.wrong(format!("`{name}` without its tensor"), "one")),
            },
            6 => Attribute::Floats(fields.floats),
            7 => Attribute::Ints(fields.ints),
            8 => Attribute::Strings(fields.strings),
            _ => return Ok(Read::Unknown(name, kind_name(kind))),
        },
    ))
}

fn take<'a>(
    reader: &Reader<'a>,
    fields: &mut Fields<'a>,
    field: u32,
    value: Value<'a>,
) -> Result<(), ModelError> {
    match field {
        1 => fields.name = tensor::name(reader, field, value)?,
        2 => fields.float = reader.float(field, value)?,
        3 => fields.int = reader.int(field, value)?,
        4 => fields.string = reader.text(field, value)?,
        5 if fields.tensor.is_some() => return Err(reader.wrong("with two tensors", "one")),
        5 => fields.tensor = Some(tensor::read(reader.bytes(field, value)?)?.1),
        7 => reader.floats(field, value, &mut fields.floats)?,
        8 => reader.ints(field, value, &mut fields.ints, |value| Some(value as i64))?,
        9 => fields.strings.push(reader.text(field, value)?.to_owned()),
        20 => fields.kind = reader.int(field, value)?,
        21 => fields.reference = reader.text(field, value)?,
        _ => {}
    }
    Ok(())
}
