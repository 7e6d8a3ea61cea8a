//! Owns the elements of a tensor as JSON: a flat list, or lists nested as the shape says.
//!
//! Refuses to check JSON: the text is known to be. Numbers are read from their own text, so that
//! each is the nearest of its type. Bound: one pass without recursion; elements are allocated for
//! only where the text is long enough to hold them.

use std::borrow::Cow;

use bytes::Bytes;
use half::{bf16, f16};

use super::Fault;
use crate::explain::end_of_string;
use crate::ports::{Datatype, RANK_MAX, TensorData};

/// Reads `count` elements, the product of `shape`, from `text`, which is called `place`.
pub(super) fn read(
    text: &str,
    datatype: Datatype,
    shape: &[u64],
    count: usize,
    place: &str,
) -> Result<TensorData, Fault> {
    // An element takes one byte at least and a comma.
    if count > text.len().div_ceil(2) {
        let message = format!("holds fewer elements than the shape says, which are {count}");
        return Err(Fault::new(place, message));
    }
    let mut elements = match datatype.element_bytes() {
        Some(bytes) => Elements::Raw(Vec::with_capacity(count.saturating_mul(bytes))),
        None => Elements::Strings(Vec::with_capacity(count)),
    };
    let mut walk = Walk::new(shape, count, place);
    let mut rest = text.trim_ascii_start();
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'[' => {
                let nested = rest[1..].trim_ascii_start().starts_with('[');
                walk.open(nested)?;
                1
            }
            b']' => {
                walk.close()?;
                1
            }
            b',' => 1,
            b'{' => return Err(walk.wrong("is an object")),
            b'"' => end_of_string(rest.as_bytes(), 0),
            _ => scalar_length(rest),
        };
        let (token, after) = rest.split_at(length);
        if !matches!(first, b'[' | b']' | b',') {
            walk.element()?;
            elements.push(token, datatype).map_err(|message| walk.wrong(message))?;
        }
        rest = after.trim_ascii_start();
    }
    Ok(elements.finish())
}

enum Elements {
    Raw(Vec<u8>),
    Strings(Vec<Bytes>),
}

impl Elements {
    fn push(&mut self, token: &str, datatype: Datatype) -> Result<(), String> {
        match self {
            Self::Raw(bytes) => push_number(bytes, token, datatype),
            Self::Strings(strings) => {
                let text: Cow<'_, str> = match token.starts_with('"') {
                    true => serde_json::from_str(token).map_err(|error| super::words(&error))?,
                    false => return Err(format!("must be text, found {}", shown(token))),
                };
                strings.push(Bytes::copy_from_slice(text.as_bytes()));
                Ok(())
            }
        }
    }

    fn finish(self) -> TensorData {
        match self {
            Self::Raw(bytes) => TensorData::Raw(bytes.into()),
            Self::Strings(strings) => TensorData::Strings(strings),
        }
    }
}

/// Where in the lists the reader is.
struct Walk<'a> {
    shape: &'a [u64],
    count: usize,
    place: &'a str,
    /// Whether lists are nested; known once the first of them is open.
    is_nested: Option<bool>,
    /// Lists that are open.
    depth: usize,
    /// Items found so far in each list that is open.
    found: [u64; RANK_MAX + 1],
    /// Elements found so far.
    elements: usize,
}

impl<'a> Walk<'a> {
    fn new(shape: &'a [u64], count: usize, place: &'a str) -> Self {
        let found = [0; RANK_MAX + 1];
        Self { shape, count, place, is_nested: None, depth: 0, found, elements: 0 }
    }

    /// A fault at the element that is being read.
    fn wrong(&self, message: impl Into<String>) -> Fault {
        let index = self.elements.saturating_sub(1);
        Fault::new(format!("{}[{index}]", self.place), message)
    }

    fn open(&mut self, has_list_inside: bool) -> Result<(), Fault> {
        let is_nested = *self.is_nested.get_or_insert(has_list_inside);
        let depth_max = if is_nested { self.shape.len() } else { 1 };
        if self.depth == depth_max {
            let rank = self.shape.len();
            let message = format!("is nested deeper than the {rank} dimensions of the shape");
            return Err(Fault::new(self.place, message));
        }
        self.found[self.depth] += 1;
        self.depth += 1;
        self.found[self.depth] = 0;
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let found = self.found[self.depth];
        let expected = match self.is_nested {
            Some(true) => self.shape.get(self.depth - 1).copied().unwrap_or_default(),
            _ => self.count as u64,
        };
        if found != expected {
            let message = match (self.is_nested, self.depth) {
                (Some(true), level) => format!(
                    "holds a list at level {level} of {found} items, the shape says {expected}"
                ),
                _ => format!("holds {found} items, the shape says {expected}"),
            };
            return Err(Fault::new(self.place, message));
        }
        self.depth -= 1;
        Ok(())
    }

    fn element(&mut self) -> Result<(), Fault> {
        self.elements += 1;
        let expected = if self.is_nested == Some(true) { self.shape.len() } else { 1 };
        if self.depth == 0 {
            return Err(Fault::new(self.place, "must be a list"));
        }
        if self.depth != expected {
            return Err(self.wrong(format!("is where the shape has a list of {expected} levels")));
        }
        self.found[self.depth] += 1;
        if self.elements > self.count {
            let message = format!("holds more elements than the shape says, {}", self.count);
            return Err(Fault::new(self.place, message));
        }
        Ok(())
    }
}

/// The length of the number or word that `rest` begins with.
fn scalar_length(rest: &str) -> usize {
    let ends = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}');
    rest.bytes().position(ends).unwrap_or(rest.len()).max(1)
}

/// A token as an error shows it.
fn shown(token: &str) -> String {
    token.chars().take(32).collect()
}

fn push_number(bytes: &mut Vec<u8>, token: &str, datatype: Datatype) -> Result<(), String> {
    macro_rules! whole {
        ($kind:ty) => {
            match token.parse::<$kind>() {
                Ok(value) => bytes.extend_from_slice(&value.to_le_bytes()),
                Err(_) => return Err(not_in_range(token, datatype)),
            }
        };
    }
    match datatype {
        Datatype::Bool => match token {
            "true" => bytes.push(1),
            "false" => bytes.push(0),
            _ => return Err(format!("must be true or false, found {}", shown(token))),
        },
        Datatype::Int8 => whole!(i8),
        Datatype::Int16 => whole!(i16),
        Datatype::Int32 => whole!(i32),
        Datatype::Int64 => whole!(i64),
        Datatype::Uint8 => whole!(u8),
        Datatype::Uint16 => whole!(u16),
        Datatype::Uint32 => whole!(u32),
        Datatype::Uint64 => whole!(u64),
        Datatype::Fp16 => {
            let value = f16::from_f64(number(token, datatype)?);
            finite(value.is_finite(), token, datatype)?;
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Datatype::Bf16 => {
            let value = bf16::from_f64(number(token, datatype)?);
            finite(value.is_finite(), token, datatype)?;
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Datatype::Fp32 => {
            number(token, datatype)?;
            let value: f32 = token.parse().map_err(|_| not_in_range(token, datatype))?;
            finite(value.is_finite(), token, datatype)?;
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Datatype::Fp64 => {
            let value = number(token, datatype)?;
            finite(value.is_finite(), token, datatype)?;
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Datatype::Bytes => return Err(format!("must be text, found {}", shown(token))),
    }
    Ok(())
}

/// A JSON number; words such as `null` are none.
fn number(token: &str, datatype: Datatype) -> Result<f64, String> {
    let starts = |byte: u8| byte == b'-' || byte.is_ascii_digit();
    let is_number = token.bytes().next().is_some_and(starts);
    let value = token.parse().ok().filter(|_| is_number);
    value.ok_or_else(|| format!("must be a number of {}, found {}", datatype.name(), shown(token)))
}

fn finite(is_finite: bool, token: &str, datatype: Datatype) -> Result<(), String> {
    if is_finite { Ok(()) } else { Err(not_in_range(token, datatype)) }
}

fn not_in_range(token: &str, datatype: Datatype) -> String {
    format!("must be in the range of {}, found {}", datatype.name(), shown(token))
}
