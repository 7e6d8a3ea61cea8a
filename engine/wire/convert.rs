//! Owns the way of tensors between the API's bytes and the engine's values.
//!
//! Refuses what does not fit the model's signature, with the input's name. Bound: one tensor.

use bytes::Bytes;
use truststram_api::ports::{Datatype, Failure, TensorData, WireTensor};
use truststram_model::OutputView;
use truststram_model::artifact::SignaturePort;
use truststram_model::tensor::{DType, Data, Tensor};

/// The types by both names.
const TYPES: [(DType, Datatype); 14] = [
    (DType::F32, Datatype::Fp32),
    (DType::F64, Datatype::Fp64),
    (DType::F16, Datatype::Fp16),
    (DType::Bf16, Datatype::Bf16),
    (DType::I8, Datatype::Int8),
    (DType::I16, Datatype::Int16),
    (DType::I32, Datatype::Int32),
    (DType::I64, Datatype::Int64),
    (DType::U8, Datatype::Uint8),
    (DType::U16, Datatype::Uint16),
    (DType::U32, Datatype::Uint32),
    (DType::U64, Datatype::Uint64),
    (DType::Bool, Datatype::Bool),
    (DType::String, Datatype::Bytes),
];

/// A type as the protocol names it.
pub fn datatype(dtype: DType) -> Datatype {
    let found = TYPES.iter().find(|(known, _)| *known == dtype);
    found.map_or(Datatype::Bytes, |(_, datatype)| *datatype)
}

/// What is wrong with a part of the input.
pub fn wrong(place: impl Into<String>, reason: impl Into<String>) -> Failure {
    Failure::Input { place: place.into(), reason: reason.into() }
}

/// The values of a tensor that a model takes.
pub fn to_tensor(wire: WireTensor, port: &SignaturePort) -> Result<Tensor, Failure> {
    let place = || format!("inputs.{}", wire.name);
    let expected = datatype(port.dtype);
    if wire.datatype != expected {
        let reason = format!("is {}, the model takes {}", wire.datatype.name(), expected.name());
        return Err(wrong(place(), reason));
    }
    let dims: Option<Vec<usize>> =
        wire.shape.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let data = match &wire.data {
        TensorData::Strings(texts) => {
            let texts = texts.iter().map(|text| Some(std::str::from_utf8(text).ok()?.to_owned()));
            let texts: Option<Vec<String>> = texts.collect();
            Data::String(texts.ok_or_else(|| wrong(place(), "has a text that is not UTF-8"))?)
        }
        TensorData::Raw(raw) => values(port.dtype, raw),
    };
    let tensor = dims.and_then(|dims| Tensor::new(&dims, data));
    tensor.ok_or_else(|| wrong(place(), "has other elements than its shape says"))
}

/// The values of a type in little-endian bytes.
fn values(dtype: DType, raw: &[u8]) -> Data {
    macro_rules! read {
        ($variant:ident, $type:ty) => {
            Data::$variant(raw.as_chunks().0.iter().map(|v| <$type>::from_le_bytes(*v)).collect())
        };
    }
    match dtype {
        DType::F32 => read!(F32, f32),
        DType::F64 => read!(F64, f64),
        DType::F16 => read!(F16, half::f16),
        DType::Bf16 => read!(Bf16, half::bf16),
        DType::I8 => read!(I8, i8),
        DType::I16 => read!(I16, i16),
        DType::I32 => read!(I32, i32),
        DType::I64 => read!(I64, i64),
        DType::U8 => Data::U8(raw.to_vec()),
        DType::U16 => read!(U16, u16),
        DType::U32 => read!(U32, u32),
        DType::U64 => read!(U64, u64),
        DType::Bool => Data::Bool(raw.iter().map(|byte| *byte != 0).collect()),
        // Texts travel otherwise.
        DType::String => Data::String(Vec::new()),
    }
}

/// An output as it travels.
pub fn to_wire(output: &OutputView<'_>) -> WireTensor {
    macro_rules! raw {
        ($type:ty) => {{
            let values = output.values::<$type>().unwrap_or_default();
            let mut raw = Vec::with_capacity(size_of_val(values));
            values.iter().for_each(|value| raw.extend_from_slice(&value.to_le_bytes()));
            TensorData::Raw(raw.into())
        }};
    }
    let data = match output.dtype() {
        DType::F32 => raw!(f32),
        DType::F64 => raw!(f64),
        DType::F16 => raw!(half::f16),
        DType::Bf16 => raw!(half::bf16),
        DType::I8 => raw!(i8),
        DType::I16 => raw!(i16),
        DType::I32 => raw!(i32),
        DType::I64 => raw!(i64),
        DType::U8 => raw!(u8),
        DType::U16 => raw!(u16),
        DType::U32 => raw!(u32),
        DType::U64 => raw!(u64),
        DType::Bool => {
            let values = output.values::<bool>().unwrap_or_default();
            TensorData::Raw(values.iter().map(|value| u8::from(*value)).collect())
        }
        DType::String => {
            let texts = output.values::<String>().unwrap_or_default();
            TensorData::Strings(texts.iter().map(|text| Bytes::from(text.clone())).collect())
        }
    };
    WireTensor {
        name: output.name.to_owned(),
        datatype: datatype(output.dtype()),
        shape: output.shape.iter().map(|dim| *dim as u64).collect(),
        data,
    }
}

/// The rows `from..to` of a tensor of `rows` rows.
pub fn slice(tensor: &WireTensor, rows: usize, from: usize, to: usize) -> WireTensor {
    let data = match &tensor.data {
        TensorData::Raw(raw) => {
            let row = raw.len() / rows.max(1);
            TensorData::Raw(raw.slice(from * row..to * row))
        }
        TensorData::Strings(texts) => {
            let row = texts.len() / rows.max(1);
            TensorData::Strings(texts[from * row..to * row].to_vec())
        }
    };
    let mut shape = tensor.shape.clone();
    if let Some(first) = shape.first_mut() {
        *first = (to - from) as u64;
    }
    WireTensor { name: tensor.name.clone(), datatype: tensor.datatype, shape, data }
}

/// Puts the rows of `next` behind those of `tensor`; `None` if they are no rows of one tensor.
pub fn append(tensor: &mut WireTensor, next: WireTensor) -> Option<()> {
    let same = tensor.shape.get(1..) == next.shape.get(1..);
    if !same || tensor.datatype != next.datatype {
        return None;
    }
    *tensor.shape.first_mut()? += *next.shape.first()?;
    match (&mut tensor.data, next.data) {
        (TensorData::Raw(raw), TensorData::Raw(next)) => {
            *raw = [&raw[..], &next[..]].concat().into()
        }
        (TensorData::Strings(texts), TensorData::Strings(next)) => texts.extend(next),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(dtype: DType) -> SignaturePort {
        SignaturePort { name: "x".to_owned(), dtype, dims: vec![-1, 2] }
    }

    fn wire(datatype: Datatype, shape: &[u64], data: TensorData) -> WireTensor {
        WireTensor { name: "x".to_owned(), datatype, shape: shape.to_vec(), data }
    }

    #[test]
    fn every_type_has_its_bytes() {
        for (dtype, datatype) in TYPES {
            assert_eq!(super::datatype(dtype), datatype);
            let data = match datatype.element_bytes() {
                Some(bytes) => TensorData::Raw(vec![1; 2 * bytes].into()),
                None => TensorData::Strings(vec![Bytes::from("a"), Bytes::from("b")]),
            };
            let tensor = to_tensor(wire(datatype, &[1, 2], data), &port(dtype)).unwrap();
            assert_eq!((tensor.dtype(), &tensor.shape()[..]), (dtype, &[1, 2][..]));
        }
        let raw = TensorData::Raw([1.5_f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect());
        let tensor = to_tensor(wire(Datatype::Fp32, &[1, 2], raw), &port(DType::F32)).unwrap();
        assert_eq!(tensor.values::<f32>(), Some(&[1.5, -2.0][..]));
    }

    #[test]
    fn what_does_not_fit_names_its_input() {
        let check = |wire: WireTensor, dtype: DType, expected: &str| {
            let failure = to_tensor(wire, &port(dtype)).unwrap_err().to_string();
            assert!(failure.contains("inputs.x") && failure.contains(expected), "{failure}");
        };
        let raw = || TensorData::Raw(vec![0; 8].into());
        check(wire(Datatype::Fp32, &[1, 2], raw()), DType::I64, "the model takes INT64");
        check(wire(Datatype::Fp32, &[3, 2], raw()), DType::F32, "its shape");
        let text = TensorData::Strings(vec![Bytes::from_static(b"\xff")]);
        check(wire(Datatype::Bytes, &[1], text), DType::String, "not UTF-8");
    }

    #[test]
    fn rows_are_cut_and_joined() {
        let raw = TensorData::Raw((0..12).collect());
        let whole = wire(Datatype::Int16, &[3, 2], raw);
        let mut first = slice(&whole, 3, 0, 1);
        assert_eq!(first.shape, [1, 2]);
        append(&mut first, slice(&whole, 3, 1, 3)).unwrap();
        assert_eq!(first, whole);
        assert_eq!(
            append(&mut first, wire(Datatype::Int16, &[1, 3], TensorData::Raw(vec![0; 6].into()))),
            None
        );
        let texts = ["a", "b", "c"].map(Bytes::from).to_vec();
        let whole = wire(Datatype::Bytes, &[3], TensorData::Strings(texts));
        let mut first = slice(&whole, 3, 0, 2);
        append(&mut first, slice(&whole, 3, 2, 3)).unwrap();
        assert_eq!(first, whole);
    }
}
