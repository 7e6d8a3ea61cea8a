//! A segment: rows of one model that were put into a month's file together, column by column and
//! compressed.
//!
//! One tree entry per row and index costs some 16 µs; a segment costs one entry for hundreds of
//! rows, and columns of like values compress well.
//!
//! Owns the bytes of a segment and how many rows it has. Refuses to know files and tables.
//! Bound: [`columns::RAW_BYTES_MAX`] before compression.

mod columns;
mod pack;
mod shuffle;
mod trial;

pub(crate) use columns::{Columns, decode};
pub(crate) use pack::{Packer, Sealed, user_hash};
pub use trial::CompressionTrial;

#[cfg(test)]
mod tests;
