//! Owns the reading of `TensorProto`: dimensions, a type, and the values in one of eight fields.
//!
//! Refuses values outside the file, in segments, and of types that tensors here do not have.
//! Bound: the number of values must be that of the dimensions; values take at most twelve times
//! their bytes in the file (empty texts).

use half::{bf16, f16};

use super::wire::{Reader, Value};
use crate::error::ModelError;
use crate::tensor::{DType, Data, RANK_MAX, Tensor};

/// Longest name of anything in a file, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 4_096;

/// A tensor in a file of its own, as ONNX keeps test data.
///
/// # Errors
/// [`ModelError::Container`] for bytes that are none, [`ModelError::Tensor`] for values that do not
/// fit their dimensions or are kept elsewhere.
pub fn tensor(bytes: &[u8]) -> Result<(String, Tensor), ModelError> {
    let (name, tensor) = read(bytes)?;
    Ok((name.to_owned(), tensor))
}

/// How messages name a type that is not read.
pub(super) fn type_name(number: i64) -> String {
    let known = match number {
        0 => "undefined",
        14 => "complex64",
        15 => "complex128",
        17 => "float8e4m3fn",
        18 => "float8e4m3fnuz",
        19 => "float8e5m2",
        20 => "float8e5m2fnuz",
        21 => "uint4",
        22 => "int4",
        23 => "float4e2m1",
        24 => "float8e8m0",
        25 => "uint2",
        26 => "int2",
        _ => return format!("type {number}"),
    };
    known.to_owned()
}

/// What the fields say before it is known what they mean together.
#[derive(Default)]
struct Fields<'a> {
    name: &'a str,
    dims: Vec<usize>,
    data_type: i64,
    raw: Option<&'a [u8]>,
    /// Fields 4 to 7, 10 and 11: number and value, in order. Their type decides how they are read.
    typed: Vec<(u32, Value<'a>)>,
}

/// Reads a tensor and its name, which is empty where there is none.
pub(super) fn read(bytes: &[u8]) -> Result<(&str, Tensor), ModelError> {
    let mut reader = Reader::new("tensor", bytes);
    let mut fields = Fields::default();
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => {
                reader.ints(1, value, &mut fields.dims, |dim| {
                    usize::try_from(dim as i64).ok().filter(|dim| u32::try_from(*dim).is_ok())
                })?;
                if fields.dims.len() > RANK_MAX {
                    let expected = format!("at most {RANK_MAX}");
                    return Err(reader.wrong("more dimensions", expected));
                }
            }
            2 => fields.data_type = reader.int(2, value)?,
            3 => return Err(wrong(fields.name, "a segment", "whole tensors")),
            4..=7 | 10 | 11 => fields.typed.push((field, value)),
            8 => fields.name = name(&reader, 8, value)?,
            9 if fields.raw.is_some() => return Err(reader.wrong("raw data twice", "once")),
            9 => fields.raw = Some(reader.bytes(9, value)?),
            13 => return Err(external(fields.name)),
            14 if reader.int(14, value)? != 0 => return Err(external(fields.name)),
            _ => {}
        }
    }
    let Some(dtype) = DType::of_onnx(fields.data_type) else {
        let found = format!("values of {}", type_name(fields.data_type));
        return Err(wrong(fields.name, found, "a type that is computed here"));
    };
    let data = match fields.raw {
        Some(_) if !fields.typed.is_empty() => {
            return Err(wrong(fields.name, "values in two fields", "one"));
        }
        Some(raw) => raw_data(dtype, raw)
            .map_err(|found| wrong(fields.name, found, format!("values of type {dtype}")))?,
        None => typed_data(&reader, dtype, &fields)?,
    };
    let count = data.len();
    let tensor = Tensor::new(&fields.dims, data).ok_or_else(|| {
        wrong(fields.name, format!("{count} values"), format!("those of {:?}", fields.dims))
    })?;
    Ok((fields.name, tensor))
}

/// A name, short enough to be one.
pub(super) fn name<'a>(
    reader: &Reader<'a>,
    field: u32,
    value: Value<'a>,
) -> Result<&'a str, ModelError> {
    let name = reader.text(field, value)?;
    if name.len() > NAME_BYTES_MAX {
        let found = format!("a name of {} bytes", name.len());
        return Err(reader.wrong(found, format!("at most {NAME_BYTES_MAX}")));
    }
    Ok(name)
}

fn wrong(name: &str, found: impl Into<String>, expected: impl Into<String>) -> ModelError {
    let tensor = name.to_owned();
    ModelError::Tensor { tensor, found: found.into(), expected: expected.into() }
}

fn external(name: &str) -> ModelError {
    wrong(name, "its values in another file", "all in one; save the model without external data")
}

fn raw_data(dtype: DType, raw: &[u8]) -> Result<Data, String> {
    if dtype == DType::String {
        return Err("texts as raw bytes".to_owned());
    }
    if !raw.len().is_multiple_of(dtype.bytes()) {
        return Err(format!("{} bytes", raw.len()));
    }
    macro_rules! values {
        ($($dtype:ident: $type:ty),*) => {
            match dtype {
                $(DType::$dtype => {
                    let (chunks, _) = raw.as_chunks();
                    let values = chunks.iter().map(|bytes| <$type>::from_le_bytes(*bytes));
                    Data::$dtype(values.collect())
                })*
                DType::Bool if raw.iter().any(|byte| *byte > 1) => {
                    return Err("bytes other than 0 and 1".to_owned());
                }
                DType::Bool => Data::Bool(raw.iter().map(|byte| *byte == 1).collect()),
                DType::String => Data::String(Vec::new()),
            }
        };
    }
    Ok(values!(F32: f32, F64: f64, F16: f16, Bf16: bf16, I8: i8, I16: i16, I32: i32, I64: i64,
        U8: u8, U16: u16, U32: u32, U64: u64))
}

/// The field that holds the values of a type where they are not raw bytes.
fn field_of(dtype: DType) -> u32 {
    match dtype {
        DType::F32 => 4,
        DType::String => 6,
        DType::I64 => 7,
        DType::F64 => 10,
        DType::U32 | DType::U64 => 11,
        _ => 5,
    }
}

fn typed_data(reader: &Reader<'_>, dtype: DType, fields: &Fields<'_>) -> Result<Data, ModelError> {
    let wanted = field_of(dtype);
    if let Some((other, _)) = fields.typed.iter().find(|(field, _)| *field != wanted) {
        let found = format!("values of type {dtype} in field {other}");
        return Err(wrong(fields.name, found, format!("them in field {wanted}")));
    }
    // Narrow types are written as 32-bit numbers, which negative ones make 64 bits long.
    macro_rules! ints {
        ($dtype:ident, $convert:expr) => {{
            let mut values = Vec::new();
            for (field, value) in &fields.typed {
                reader.ints(*field, *value, &mut values, $convert)?;
            }
            Data::$dtype(values)
        }};
    }
    Ok(match dtype {
        DType::F32 => {
            let mut values = Vec::new();
            for (field, value) in &fields.typed {
                reader.floats(*field, *value, &mut values)?;
            }
            Data::F32(values)
        }
        DType::F64 => {
            let mut values = Vec::new();
            for (field, value) in &fields.typed {
                reader.doubles(*field, *value, &mut values)?;
            }
            Data::F64(values)
        }
        DType::String => {
            let texts = fields.typed.iter();
            let texts = texts.map(|(field, value)| reader.text(*field, *value).map(str::to_owned));
            Data::String(texts.collect::<Result<_, _>>()?)
        }
        DType::I8 => ints!(I8, |value| i8::try_from(value as i64).ok()),
        DType::I16 => ints!(I16, |value| i16::try_from(value as i64).ok()),
        DType::I32 => ints!(I32, |value| i32::try_from(value as i64).ok()),
        DType::I64 => ints!(I64, |value| Some(value as i64)),
        DType::U8 => ints!(U8, |value| u8::try_from(value).ok()),
        DType::U16 => ints!(U16, |value| u16::try_from(value).ok()),
        DType::U32 => ints!(U32, |value| u32::try_from(value).ok()),
        DType::U64 => ints!(U64, Some),
        DType::F16 => ints!(F16, |value| u16::try_from(value).ok().map(f16::from_bits)),
        DType::Bf16 => ints!(Bf16, |value| u16::try_from(value).ok().map(bf16::from_bits)),
        DType::Bool => ints!(Bool, |value| (value <= 1).then_some(value == 1)),
    })
}
