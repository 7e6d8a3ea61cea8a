//! Owns the reading of fields off the front of stored bytes.
//!
//! Refuses to know layouts. Bound: never reads past the end.

use crate::error::Damage;

/// Bytes that are left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Damage::Length)?;
        self.rest = rest;
        Ok(*array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damage> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn slice(&mut self, bytes: usize) -> Result<&'a [u8], Damage> {
        let (slice, rest) = self.rest.split_at_checked(bytes).ok_or(Damage::Length)?;
        self.rest = rest;
        Ok(slice)
    }

    pub(crate) fn text(&mut self, bytes: usize) -> Result<&'a str, Damage> {
        std::str::from_utf8(self.slice(bytes)?).map_err(|_| Damage::Value)
    }
}
