//! Owns the elements of a tensor on their way out: a flat JSON list, or bytes.
//!
//! Refuses to change a value: what JSON cannot express is refused. Bound: one pass.

use std::io::Write;

use bytes::Bytes;
use half::{bf16, f16};

use super::Fault;
use crate::ports::{Datatype, TensorData, WireTensor};

/// Appends the elements as a flat list.
pub(crate) fn json_data(out: &mut Vec<u8>, tensor: &WireTensor) -> Result<(), Fault> {
    out.push(b'[');
    match &tensor.data {
        TensorData::Raw(raw) => numbers(out, raw, tensor)?,
        TensorData::Strings(strings) => {
            for (index, string) in strings.iter().enumerate() {
                comma(out, index);
                let text = std::str::from_utf8(string)
                    .map_err(|_| unwritable(tensor, index, "is not UTF-8"))?;
                append_json(out, &text);
            }
        }
    }
    out.push(b']');
    Ok(())
}

fn numbers(out: &mut Vec<u8>, raw: &[u8], tensor: &WireTensor) -> Result<(), Fault> {
    macro_rules! whole {
        ($kind:ty) => {
            for (index, chunk) in raw.as_chunks().0.iter().enumerate() {
                comma(out, index);
                // Writing into memory does not fail.
                let _ = write!(out, "{}", <$kind>::from_le_bytes(*chunk));
            }
        };
    }
    macro_rules! real {
        ($kind:ty, $into:ty) => {
            for (index, chunk) in raw.as_chunks().0.iter().enumerate() {
                let value = <$into>::from(<$kind>::from_le_bytes(*chunk));
                if !value.is_finite() {
                    return Err(unwritable(tensor, index, &format!("is {value}")));
                }
                comma(out, index);
                append_json(out, &value);
            }
        };
    }
    match tensor.datatype {
        Datatype::Bool => {
            for (index, &byte) in raw.iter().enumerate() {
                comma(out, index);
                out.extend_from_slice(if byte == 0 { b"false" } else { b"true" });
            }
        }
        Datatype::Int8 => whole!(i8),
        Datatype::Int16 => whole!(i16),
        Datatype::Int32 => whole!(i32),
        Datatype::Int64 => whole!(i64),
        Datatype::Uint8 => whole!(u8),
        Datatype::Uint16 => whole!(u16),
        Datatype::Uint32 => whole!(u32),
        Datatype::Uint64 => whole!(u64),
        Datatype::Fp16 => real!(f16, f32),
        Datatype::Bf16 => real!(bf16, f32),
        Datatype::Fp32 => real!(f32, f32),
        Datatype::Fp64 => real!(f64, f64),
        Datatype::Bytes => return Err(unwritable(tensor, 0, "is no byte string")),
    }
    Ok(())
}

fn comma(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

/// Appends plain data as JSON.
pub(crate) fn append_json(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Finite numbers, texts and what is made of them always serialise, and memory takes them.
    let _ = serde_json::to_writer(out, value);
}

fn unwritable(tensor: &WireTensor, index: usize, what: &str) -> Fault {
    let message =
        format!("{what}, which JSON cannot express; ask for this output with `binary_data: true`");
    Fault::new(format!("element {index} of the output `{}`", tensor.name), message)
}

/// The elements as bytes: byte strings each after its length in four little-endian bytes.
pub(crate) fn binary(tensor: &WireTensor) -> Result<Bytes, Fault> {
    let strings = match &tensor.data {
        TensorData::Raw(raw) => return Ok(raw.clone()),
        TensorData::Strings(strings) => strings,
    };
    let mut out = Vec::with_capacity(strings.iter().map(|string| 4 + string.len()).sum());
    for (index, string) in strings.iter().enumerate() {
        let length = u32::try_from(string.len());
        let length = length.map_err(|_| unwritable(tensor, index, "is longer than 4 GiB"))?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(string);
    }
    Ok(out.into())
}
