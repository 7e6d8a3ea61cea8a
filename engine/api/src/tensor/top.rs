//! Owns the classification of an output: its highest values as texts, as Triton writes them.
//!
//! Refuses to know what the values mean. Bound: one sort per row of the output.

use std::cmp::Ordering;

use bytes::Bytes;
use half::{bf16, f16};

use super::Fault;
use crate::ports::{Datatype, TensorData, WireTensor};

/// A value that can be compared and written.
#[derive(Clone, Copy)]
enum Element {
    Whole(i128),
    Real(f64),
}

impl Element {
    /// Higher values first; what is no number last.
    fn descending(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            (Self::Whole(a), Self::Whole(b)) => b.cmp(&a),
            (Self::Real(a), Self::Real(b)) => match (a.is_nan(), b.is_nan()) {
                (false, false) => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
                (a, b) => a.cmp(&b),
            },
            // One tensor has elements of one type.
            _ => Ordering::Equal,
        }
    }
}

/// The `wanted` highest values of each row as `value:index`, or `value:index:class` where there is
/// a name for each of them. A row is all but the first dimension; an output of one dimension is
/// one row. Equal values are in the order of their index.
pub(crate) fn top_classes(
    tensor: &WireTensor,
    wanted: usize,
    classes: &[String],
) -> Result<WireTensor, Fault> {
    let elements = elements(tensor)?;
    let rows = match tensor.shape.as_slice() {
        [rows, _, ..] => usize::try_from(*rows).unwrap_or(usize::MAX),
        _ => 1,
    };
    let columns = elements.len().checked_div(rows).unwrap_or(0);
    let kept = wanted.min(columns);
    let names = if classes.len() == columns { classes } else { &[] };
    let mut strings = Vec::with_capacity(rows.saturating_mul(kept).min(elements.len()));
    if columns > 0 {
        for row in elements.chunks_exact(columns) {
            let mut order: Vec<usize> = (0..columns).collect();
            order.sort_by(|&a, &b| row[a].descending(&row[b]));
            strings.extend(order.into_iter().take(kept).map(|index| {
                let value = match row[index] {
                    Element::Whole(value) => value.to_string(),
                    Element::Real(value) => format!("{value:.6}"),
                };
                let text = match names.get(index) {
                    Some(name) => format!("{value}:{index}:{name}"),
                    None => format!("{value}:{index}"),
                };
                Bytes::from(text)
            }));
        }
    }
    let shape = match tensor.shape.as_slice() {
        [rows, _, ..] => vec![*rows, kept as u64],
        _ => vec![kept as u64],
    };
    let (name, data) = (tensor.name.clone(), TensorData::Strings(strings));
    Ok(WireTensor { name, datatype: Datatype::Bytes, shape, data })
}

fn elements(tensor: &WireTensor) -> Result<Vec<Element>, Fault> {
    let TensorData::Raw(raw) = &tensor.data else { return Err(texts(tensor)) };
    macro_rules! read {
        ($kind:ty, $variant:ident, $into:ty) => {{
            let (chunks, _) = raw.as_chunks();
            let value = |chunk| Element::$variant(<$into>::from(<$kind>::from_le_bytes(chunk)));
            chunks.iter().map(|chunk| value(*chunk)).collect()
        }};
    }
    Ok(match tensor.datatype {
        Datatype::Bool | Datatype::Uint8 => read!(u8, Whole, i128),
        Datatype::Int8 => read!(i8, Whole, i128),
        Datatype::Int16 => read!(i16, Whole, i128),
        Datatype::Int32 => read!(i32, Whole, i128),
        Datatype::Int64 => read!(i64, Whole, i128),
        Datatype::Uint16 => read!(u16, Whole, i128),
        Datatype::Uint32 => read!(u32, Whole, i128),
        Datatype::Uint64 => read!(u64, Whole, i128),
        Datatype::Fp16 => read!(f16, Real, f64),
        Datatype::Bf16 => read!(bf16, Real, f64),
        Datatype::Fp32 => read!(f32, Real, f64),
        Datatype::Fp64 => read!(f64, Real, f64),
        Datatype::Bytes => return Err(texts(tensor)),
    })
}

fn texts(tensor: &WireTensor) -> Fault {
    let place = format!("the output `{}`", tensor.name);
    Fault::new(place, "holds texts, which have no highest values; leave `classification` out")
}
