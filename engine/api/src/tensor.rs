//! Owns tensors between bodies and ports: one as JSON describes it, checked and decoded.
//!
//! Refuses to know which models take them. Bound: [`RANK_MAX`] dimensions, and as many elements as
//! the body holds: nothing is allocated for elements that a body only claims.

mod json;
mod top;
mod write;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::lists::{AtMost, Fields};
use crate::ports::{Datatype, RANK_MAX, TensorData, WireTensor};

pub(crate) use top::top_classes;
pub(crate) use write::{append_json, binary, json_data};

/// Longest name of a tensor, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Most tensors of a request, and most outputs that it names.
pub(crate) const TENSORS_MAX: usize = 256;

/// Most parameters of a tensor or request.
const PARAMETERS_MAX: usize = 64;

/// The parameters of a tensor or request.
pub(crate) type Parameters<'a> = Fields<'a, PARAMETERS_MAX>;

/// What is wrong with a tensor, and where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// The place in the body, for example `inputs[0].data[3]`.
    pub place: String,
    /// What is wrong and what is expected.
    pub message: String,
}

impl Fault {
    /// A fault at `place`.
    pub(crate) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place, self.message)
    }
}

/// A tensor as a body describes it.
#[derive(Deserialize, ToSchema)]
pub(crate) struct TensorBody<'a> {
    /// Which input it is.
    #[serde(borrow)]
    #[schema(example = "input", value_type = String)]
    name: Cow<'a, str>,
    /// Its dimensions, at most 16.
    #[schema(value_type = Vec<u64>, example = json!([1, 64]))]
    shape: AtMost<u64, RANK_MAX>,
    /// BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, FP32, FP64 or BYTES.
    #[serde(borrow)]
    #[schema(example = "FP32", value_type = String)]
    datatype: Cow<'a, str>,
    /// `binary_data_size` where the elements follow the JSON object.
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Parameters<'a>>,
    /// The elements in a flat list, row after row, or in lists nested as the shape says.
    #[serde(borrow)]
    #[schema(value_type = Option<Vec<Object>>)]
    data: Option<&'a RawValue>,
}

/// The bytes that follow a JSON object; tensors take theirs in order.
#[derive(Default)]
pub(crate) struct Tail(Bytes);

impl Tail {
    /// The bytes that are left to take.
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Reads tensors, each name once; `place` is what their list is called.
pub(crate) fn read_all(
    texts: &[&RawValue],
    tail: &mut Tail,
    place: &str,
) -> Result<Vec<WireTensor>, Fault> {
    let mut tensors: Vec<WireTensor> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let place = format!("{place}[{index}]");
        let tensor = read(text, tail, &place)?;
        if tensors.iter().any(|other| other.name == tensor.name) {
            let message = format!("`{}` is given twice", tensor.name);
            return Err(Fault::new(format!("{place}.name"), message));
        }
        tensors.push(tensor);
    }
    Ok(tensors)
}

fn read(text: &RawValue, tail: &mut Tail, place: &str) -> Result<WireTensor, Fault> {
    let body: TensorBody<'_> = serde_json::from_str(text.get())
        .map_err(|error| Fault::new(place, format!("is no tensor: {}", words(&error))))?;
    let at = |field: &str| format!("{place}.{field}");
    if body.name.is_empty() || body.name.len() > NAME_BYTES_MAX {
        return Err(Fault::new(at("name"), format!("must have 1 to {NAME_BYTES_MAX} bytes")));
    }
    let Some(datatype) = Datatype::of_name(&body.datatype) else {
        let known: Vec<&str> = Datatype::ALL.iter().map(|(_, name, _)| *name).collect();
        return Err(Fault::new(at("datatype"), format!("must be one of {}", known.join(", "))));
    };
    let shape = body.shape.0;
    let count = element_count(&shape).ok_or_else(|| {
        Fault::new(at("shape"), "has more elements than can be counted".to_owned())
    })?;
    let parameters = body.parameters.unwrap_or_default();
    if parameters.has("shared_memory_region") {
        let message = "names shared memory, which is not supported; send the elements";
        return Err(Fault::new(at("parameters"), message));
    }
    let data = match (parameters.get("binary_data_size"), body.data) {
        (None, Some(text)) => json::read(text.get(), datatype, &shape, count, &at("data"))?,
        (Some(size), None) => {
            let size = serde_json::from_str::<usize>(size.get()).ok();
            let place = at("parameters.binary_data_size");
            let size = size.ok_or_else(|| Fault::new(&place, "must be a whole number of bytes"))?;
            let left = tail.len();
            if size > left {
                let message = format!("is {size}, but only {left} bytes are left in the body");
                return Err(Fault::new(place, message));
            }
            raw(tail.0.split_to(size), datatype, count, &place)?
        }
        (Some(_), Some(_)) => {
            let message = "has both `data` and `binary_data_size`; give one of them";
            return Err(Fault::new(place, message));
        }
        (None, None) => {
            let message = "has no elements; give `data`, or `binary_data_size` in `parameters` \
                           and the elements after the JSON object";
            return Err(Fault::new(place, message));
        }
    };
    Ok(WireTensor { name: body.name.into_owned(), datatype, shape, data })
}

/// What serde says without the line and column, which count from within the tensor.
pub(crate) fn words(error: &serde_json::Error) -> String {
    let said = error.to_string();
    said.split(" at line ").next().unwrap_or(&said).to_owned()
}

/// How many elements a shape has; `None` where that is beyond `usize`.
pub(crate) fn element_count(shape: &[u64]) -> Option<usize> {
    let count = shape.iter().try_fold(1_u64, |count, &size| count.checked_mul(size))?;
    usize::try_from(count).ok()
}

/// Elements as they follow the JSON object.
fn raw(bytes: Bytes, datatype: Datatype, count: usize, place: &str) -> Result<TensorData, Fault> {
    let found = bytes.len();
    let Some(element_bytes) = datatype.element_bytes() else {
        return strings(bytes, count, place).map(TensorData::Strings);
    };
    if count.checked_mul(element_bytes) != Some(found) {
        let name = datatype.name();
        let message =
            format!("is {found}, but {count} elements of {name} take {element_bytes} bytes each");
        return Err(Fault::new(place, message));
    }
    let is_flag = |&byte: &u8| byte <= 1;
    if datatype == Datatype::Bool && !bytes.iter().all(is_flag) {
        return Err(Fault::new(place, "leads to a BOOL that is neither 0 nor 1"));
    }
    Ok(TensorData::Raw(bytes))
}

/// Byte strings, each after its length in four little-endian bytes.
fn strings(mut bytes: Bytes, count: usize, place: &str) -> Result<Vec<Bytes>, Fault> {
    const LENGTH_BYTES: usize = 4;
    let found = bytes.len();
    // Each element takes four bytes at least, so that no more is allocated than was sent.
    if count > found / LENGTH_BYTES {
        let message = format!("is {found}, too few for {count} elements of BYTES");
        return Err(Fault::new(place, message));
    }
    let mut strings = Vec::with_capacity(count);
    for index in 0..count {
        let length = bytes.first_chunk::<LENGTH_BYTES>().map(|length| u32::from_le_bytes(*length));
        let length = length.and_then(|length| usize::try_from(length).ok());
        let whole = length.and_then(|length| length.checked_add(LENGTH_BYTES));
        match whole.filter(|&whole| whole <= bytes.len()) {
            Some(whole) => strings.push(bytes.split_to(whole).slice(LENGTH_BYTES..)),
            None => {
                let message = format!("ends within element {index} of {count} BYTES");
                return Err(Fault::new(place, message));
            }
        }
    }
    match bytes.len() {
        0 => Ok(strings),
        left => {
            let message = format!("leaves {left} bytes after {count} elements of BYTES");
            Err(Fault::new(place, message))
        }
    }
}

#[cfg(test)]
mod tests;
