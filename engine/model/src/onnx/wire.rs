//! Owns the wire format of protobuf: fields with numbers, as varints, fixed words and slices.
//!
//! Refuses to know messages. Bound: borrows the file; a length beyond its end is refused before
//! anything is made of it. The format: <https://protobuf.dev/programming-guides/encoding/>.

use crate::error::ModelError;

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: a message, text, bytes or packed numbers.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Reads one message, field by field.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// Which message, for complaints.
    part: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of the message `part`.
    pub fn new(part: &'static str, bytes: &'a [u8]) -> Self {
        Self { bytes, part }
    }

    /// The next field's number and value; none at the end.
    ///
    /// # Errors
    /// [`ModelError::Container`] for anything that is no field.
    pub fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, ModelError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or_else(|| self.wrong("a field without a number", "fields"))?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            kind => {
                let found = format!("field {number} of wire type {kind}");
                return Err(self.wrong(found, "wire type 0, 1, 2 or 5"));
            }
        };
        Ok(Some((number, value)))
    }

    fn varint(&mut self) -> Result<u64, ModelError> {
        let mut value = 0u64;
        for (index, byte) in self.bytes.iter().enumerate() {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds the last bit.
            if index == 9 && *byte > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[index + 1..];
                return Ok(value);
            }
            if index == 9 {
                break;
            }
        }
        Err(self.wrong("a number without an end", "at most 64 bits"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        match self.bytes.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.bytes = tail;
                Ok(*head)
            }
            None => Err(self.cut(N)),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ModelError> {
        match self.bytes.split_at_checked(length) {
            Some((head, tail)) => {
                self.bytes = tail;
                Ok(head)
            }
            None => Err(self.cut(length)),
        }
    }

    fn cut(&self, wanted: usize) -> ModelError {
        self.wrong(format!("cut off: {wanted} bytes wanted, {} left", self.bytes.len()), "all")
    }

    /// The complaint that the message is wrong.
    pub fn wrong(&self, found: impl Into<String>, expected: impl Into<String>) -> ModelError {
        ModelError::Container { part: self.part, found: found.into(), expected: expected.into() }
    }

    fn kind(&self, field: u32, expected: &str) -> ModelError {
        self.wrong(format!("field {field} of another wire type"), expected)
    }

    /// A value that must be a whole number.
    ///
    /// # Errors
    /// [`ModelError::Container`] if it is not.
    pub fn int(&self, field: u32, value: Value<'a>) -> Result<i64, ModelError> {
        match value {
            // Negative numbers are written as their 64 bits.
            Value::Varint(value) => Ok(value as i64),
            _ => Err(self.kind(field, "a whole number")),
        }
    }

    /// A value that must be a number.
    ///
    /// # Errors
    /// [`ModelError::Container`] if it is not.
    pub fn float(&self, field: u32, value: Value<'a>) -> Result<f32, ModelError> {
        match value {
            Value::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(self.kind(field, "a number of 32 bits")),
        }
    }

    /// A value that must be bytes.
    ///
    /// # Errors
    /// [`ModelError::Container`] if it is not.
    pub fn bytes(&self, field: u32, value: Value<'a>) -> Result<&'a [u8], ModelError> {
        match value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.kind(field, "bytes")),
        }
    }

    /// A value that must be text.
    ///
    /// # Errors
    /// [`ModelError::Container`] if it is not, or not UTF-8.
    pub fn text(&self, field: u32, value: Value<'a>) -> Result<&'a str, ModelError> {
        std::str::from_utf8(self.bytes(field, value)?)
            .map_err(|error| self.wrong(format!("text in field {field}: {error}"), "UTF-8"))
    }

    /// Adds the whole numbers of a field that is repeated, packed or one at a time.
    ///
    /// # Errors
    /// [`ModelError::Container`] if they are none.
    pub fn ints<T>(
        &self,
        field: u32,
        value: Value<'a>,
        values: &mut Vec<T>,
        convert: impl Fn(u64) -> Option<T>,
    ) -> Result<(), ModelError> {
        let mut push = |value: u64| match convert(value) {
            Some(value) => {
                values.push(value);
                Ok(())
            }
            None => Err(self.wrong(format!("{} in field {field}", value as i64), "its type")),
        };
        match value {
            Value::Varint(value) => push(value),
            Value::Bytes(bytes) => {
                let mut reader = Reader::new(self.part, bytes);
                while !reader.bytes.is_empty() {
                    push(reader.varint()?)?;
                }
                Ok(())
            }
            _ => Err(self.kind(field, "whole numbers")),
        }
    }

    /// Adds the 32-bit words of a field that is repeated, packed or one at a time.
    ///
    /// # Errors
    /// [`ModelError::Container`] if they are none.
    pub fn floats(
        &self,
        field: u32,
        value: Value<'a>,
        values: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        match value {
            Value::Fixed32(bits) => values.push(f32::from_bits(bits)),
            Value::Bytes(bytes) if bytes.len().is_multiple_of(4) => {
                values.extend(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            _ => return Err(self.kind(field, "numbers of 32 bits")),
        }
        Ok(())
    }

    /// Adds the 64-bit words of a field that is repeated, packed or one at a time.
    ///
    /// # Errors
    /// [`ModelError::Container`] if they are none.
    pub fn doubles(
        &self,
        field: u32,
        value: Value<'a>,
        values: &mut Vec<f64>,
    ) -> Result<(), ModelError> {
        match value {
            Value::Fixed64(bits) => values.push(f64::from_bits(bits)),
            Value::Bytes(bytes) if bytes.len().is_multiple_of(8) => {
                values.extend(bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)));
            }
            _ => return Err(self.kind(field, "numbers of 64 bits")),
        }
        Ok(())
    }
}
