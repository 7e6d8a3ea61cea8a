//! The importer on small files: what it reads and what it refuses.

mod read;
mod writer;
