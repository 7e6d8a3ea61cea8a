//! Owns the reading of `ValueInfoProto`: the name, type and dimensions of an input or an output.
//!
//! Refuses everything but tensors and what `ZipMap` makes of one: other sequences, maps, optional
//! and sparse values, by name.
//! Bound: [`RANK_MAX`] dimensions.

use super::tensor;
use super::wire::Reader;
use crate::error::ModelError;
use crate::graph::Dim;
use crate::tensor::{DType, RANK_MAX};

/// An input or an output before it has a place in the graph.
pub(super) struct PortInfo<'a> {
    pub name: &'a str,
    pub dtype: DType,
    pub dims: Option<Vec<Dim>>,
    /// Whether the file says it is a sequence of maps from labels to scores, as `ZipMap` makes it.
    /// Here it is a tensor of the scores.
    pub is_zipped: bool,
}

/// Reads a port.
pub(super) fn read(bytes: &[u8]) -> Result<PortInfo<'_>, ModelError> {
    let mut reader = Reader::new("port", bytes);
    let (mut name, mut kind) = ("", None);
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => name = tensor::name(&reader, 1, value)?,
            2 if kind.is_some() => return Err(reader.wrong("of two types", "one")),
            2 => kind = Some(reader.bytes(2, value)?),
            _ => {}
        }
    }
    if name.is_empty() {
        return Err(reader.wrong("without a name", "one"));
    }
    let Some(kind) = kind else {
        return Err(reader.wrong(format!("`{name}` without a type"), "one"));
    };
    if is_zipped(kind)? {
        return Ok(PortInfo { name, dtype: DType::F32, dims: None, is_zipped: true });
    }
    let (dtype, dims) = read_type(name, kind)?;
    Ok(PortInfo { name, dtype, dims, is_zipped: false })
}

/// Whether a `TypeProto` is a sequence of maps.
fn is_zipped(bytes: &[u8]) -> Result<bool, ModelError> {
    let Some(sequence) = part(bytes, 4)? else { return Ok(false) };
    let Some(element) = part(sequence, 1)? else { return Ok(false) };
    Ok(part(element, 5)?.is_some())
}

/// The bytes of a field of a message within the type of a port.
fn part(bytes: &[u8], wanted: u32) -> Result<Option<&[u8]>, ModelError> {
    let mut reader = Reader::new("port", bytes);
    while let Some((field, value)) = reader.next()? {
        if field == wanted {
            return reader.bytes(field, value).map(Some);
        }
    }
    Ok(None)
}

/// The complaint that an input or an output is no tensor.
pub(super) fn refuse(name: &str, what: &str) -> ModelError {
    ModelError::Unsupported {
        operator: what.to_owned(),
        place: format!("its input or output `{name}`"),
        reason: "only tensors go in and come out".to_owned(),
    }
}

/// Reads a `TypeProto`, which must be that of a tensor.
fn read_type(name: &str, bytes: &[u8]) -> Result<(DType, Option<Vec<Dim>>), ModelError> {
    let refuse = |what: &str| refuse(name, what);
    let mut reader = Reader::new("port", bytes);
    let mut tensor = None;
    while let Some((field, value)) = reader.next()? {
        match field {
            1 if tensor.is_some() => return Err(reader.wrong("of two types", "one")),
            1 => tensor = Some(reader.bytes(1, value)?),
            4 => return Err(refuse("sequence")),
            5 => return Err(refuse("map")),
            7 => return Err(refuse("opaque")),
            8 => return Err(refuse("sparse tensor")),
            9 => return Err(refuse("optional")),
            _ => {}
        }
    }
    let Some(tensor) = tensor else {
        return Err(reader.wrong(format!("`{name}` of no known type"), "a tensor"));
    };
    let mut reader = Reader::new("port", tensor);
    let (mut number, mut dims) = (0, None);
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => number = reader.int(1, value)?,
            2 if dims.is_some() => return Err(reader.wrong("of two shapes", "one")),
            2 => dims = Some(read_dims(name, reader.bytes(2, value)?)?),
            _ => {}
        }
    }
    let dtype = DType::of_onnx(number).ok_or_else(|| refuse(&tensor::type_name(number)))?;
    Ok((dtype, dims))
}

/// Reads a `TensorShapeProto`.
fn read_dims(name: &str, bytes: &[u8]) -> Result<Vec<Dim>, ModelError> {
    let mut reader = Reader::new("port", bytes);
    let mut dims = Vec::new();
    while let Some((field, value)) = reader.next()? {
        if field != 1 {
            continue;
        }
        if dims.len() == RANK_MAX {
            let expected = format!("at most {RANK_MAX}");
            return Err(reader.wrong(format!("`{name}` with more dimensions"), expected));
        }
        let mut inner = Reader::new("port", reader.bytes(1, value)?);
        let mut dim = Dim::Any;
        while let Some((field, value)) = inner.next()? {
            match field {
                1 => {
                    let count = inner.int(1, value)?;
                    dim = match u32::try_from(count) {
                        Ok(count) => Dim::Fixed(count as usize),
                        // Some exporters write an unknown dimension so.
                        Err(_) if count == -1 => Dim::Any,
                        Err(_) => {
                            let found = format!("`{name}` with a dimension of {count}");
                            return Err(inner.wrong(found, "0 or more"));
                        }
                    };
                }
                2 => {
                    let text = tensor::name(&inner, 2, value)?;
                    dim = if text.is_empty() { Dim::Any } else { Dim::Named(text.to_owned()) };
                }
                _ => {}
            }
        }
        dims.push(dim);
    }
    Ok(dims)
}
