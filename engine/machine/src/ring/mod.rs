//! File input and output through io_uring where the host has it, and through plain system calls
//! elsewhere, behind one trait.
//!
//! Owns the choice and both ways. Refuses to know what files hold. Bound: at most
//! `IN_FLIGHT_MAX` operations at a time per ring, and the pool of each `DirectFile`.

mod direct;
mod disabled;
mod enabled;
mod file_buffer;
mod operations;
mod page_cache;
mod probe;
mod seam;

pub use direct::{BLOCK_BYTES, DirectFile, RingRefusal, SyncBy};
pub use file_buffer::{FileBuffer, read_file};
pub use page_cache::{drop_cached_pages, forget_cached};
pub use probe::{RingMode, RingStatus, probe};
pub use seam::Ring;

#[cfg(test)]
mod tests;
