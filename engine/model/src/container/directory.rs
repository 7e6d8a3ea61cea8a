//! Owns the directory of a container: what its header says, checked against the data's length.
//!
//! Refuses to see the data, so that a reader can judge a file by its first bytes. Bound: linear in
//! the header, whose length the caller limits; a name may be there once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::tensor_error;
use crate::error::ModelError;
use crate::tensor::{DType, Shape};

/// The types of elements that are read, by their names in the header.
const TYPES: &[(&str, DType)] = &[
    ("F32", DType::F32),
    ("F16", DType::F16),
    ("BF16", DType::Bf16),
    ("F64", DType::F64),
    ("I64", DType::I64),
    ("I32", DType::I32),
    ("I16", DType::I16),
    ("I8", DType::I8),
    ("U64", DType::U64),
    ("U32", DType::U32),
    ("U16", DType::U16),
    ("U8", DType::U8),
    ("BOOL", DType::Bool),
];

/// What a container holds and where.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The texts under `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    /// The tensors, which cover the data once.
    pub tensors: BTreeMap<String, Place>,
}

/// Where a tensor lies; as many bytes as its type and shape say.
#[derive(Clone, Debug)]
pub struct Place {
    /// The type of the elements.
    pub dtype: DType,
    pub(super) dtype_name: &'static str,
    /// Elements along each dimension.
    pub shape: Shape,
    /// Its bytes, counted from the first byte of data.
    pub bytes: Range<u64>,
}

impl Directory {
    /// Reads the JSON of a header in front of so many bytes of data.
    ///
    /// # Errors
    /// Names the part or the tensor that is wrong, what it has and what was expected.
    pub fn parse(header: &[u8], data_bytes: u64) -> Result<Self, ModelError> {
        let header: Header = serde_json::from_slice(header)
            .map_err(|source| ModelError::Json { part: "header", source: Arc::new(source) })?;
        check_coverage(&header.tensors, data_bytes)?;
        let mut tensors = BTreeMap::new();
        for (name, entry) in header.tensors {
            let place = Place::read(&name, &entry)?;
            tensors.insert(name, place);
        }
        Ok(Self { metadata: header.metadata, tensors })
    }
}

impl Place {
    fn read(name: &str, entry: &Entry) -> Result<Self, ModelError> {
        let Some((dtype_name, dtype)) = TYPES.iter().find(|(name, _)| *name == entry.dtype) else {
            let known: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
            let expected = format!("one of {}", known.join(", "));
            return Err(tensor_error(name, format!("the type `{}`", entry.dtype), expected));
        };
        let (start, end) = entry.data_offsets;
        let described = || format!("{} {:?} in {} bytes", entry.dtype, entry.shape, end - start);
        let dims: Result<Vec<_>, _> = entry.shape.iter().map(|dim| usize::try_from(*dim)).collect();
        let shape = dims.ok().and_then(|dims| Shape::new(&dims));
        let shape = shape.ok_or_else(|| {
            tensor_error(name, described(), "at most 8 dimensions, not more than memory")
        })?;
        let wanted = shape.count().checked_mul(dtype.bytes());
        if wanted.is_none_or(|wanted| wanted as u64 != end - start) {
            let expected = wanted.map_or("fewer elements".to_owned(), |b| format!("{b} bytes"));
            return Err(tensor_error(name, described(), expected));
        }
        Ok(Self { dtype: *dtype, dtype_name, shape, bytes: start..end })
    }

    /// Type and shape as messages give them.
    pub fn describe(&self) -> String {
        format!("{} {:?}", self.dtype_name, self.shape)
    }
}

#[derive(Default)]
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Reads the header entry by entry: a map would keep the last of two tensors of one name, and no
/// two readers would agree which one a file means.
struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut has_metadata = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                if std::mem::replace(&mut has_metadata, true) {
                    return Err(A::Error::custom("`__metadata__` is there twice"));
                }
                header.metadata = map.next_value()?;
                continue;
            }
            match header.tensors.entry(name) {
                Slot::Occupied(slot) => {
                    let text = format!("the tensor `{}` is there twice", slot.key());
                    return Err(A::Error::custom(text));
                }
                Slot::Vacant(slot) => slot.insert(map.next_value()?),
            };
        }
        Ok(header)
    }
}

/// Checks that the tensors cover the data once, without a gap.
fn check_coverage(tensors: &BTreeMap<String, Entry>, data_bytes: u64) -> Result<(), ModelError> {
    let mut entries: Vec<_> = tensors.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut covered = 0;
    for (name, entry) in entries {
        let (start, end) = entry.data_offsets;
        if start != covered || end < start || end > data_bytes {
            let expected = format!("a start at {covered} and an end up to {data_bytes}");
            return Err(tensor_error(name, format!("the offsets {start} to {end}"), expected));
        }
        covered = end;
    }
    if covered == data_bytes {
        return Ok(());
    }
    Err(ModelError::Container {
        part: "data",
        found: format!("{data_bytes} bytes"),
        expected: format!("{covered} bytes as in the header"),
    })
}
