//! Owns rows as Apache Parquet, column by column, without a second form in between.
//!
//! Refuses to know particular rows. Bound: what its parts say; a damaged or hostile file is an
//! error, since `pages` checks each page before the library decodes it.

mod encoded;
mod footer;
mod lane;
mod pages;
mod read;
mod schema;
mod source;
mod write;

pub(crate) use read::ParquetReader;
pub use source::PAGE_BYTES_MAX;
pub(crate) use write::ParquetWriter;
