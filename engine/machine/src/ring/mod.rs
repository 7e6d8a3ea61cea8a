//! File input and output through io_uring where the host has it, and through plain system calls
//! elsewhere, behind one trait.
//!
//! Owns the choice and both ways. Refuses to know what files hold. Bound: at most
//! `IN_FLIGHT_MAX` operations at a time per ring.

mod disabled;
mod enabled;
mod file_buffer;
mod probe;
mod seam;

pub use file_buffer::{FileBuffer, read_file};
pub use probe::{RingMode, RingStatus, probe};
pub use seam::Ring;

#[cfg(test)]
mod tests;
