//! Owns the choice between io_uring and plain files, made once per ring at start.
//!
//! Refuses to guess from versions: a ring is built and used. Bound: one ring per call.

use std::io;

use io_uring::IoUring;

use super::disabled::PlainFiles;
use super::enabled::{self, Uring};
use super::seam::Ring;

/// Whether io_uring may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingMode {
    /// Where the kernel allows it.
    Auto,
    /// Never.
    Off,
}

/// What was chosen and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingStatus {
    /// `io_uring` or `file`.
    pub chosen: &'static str,
    /// Why io_uring is not used, or `available`.
    pub reason: String,
}

/// Makes a ring as `mode` and the kernel allow.
pub fn probe(mode: RingMode) -> (Box<dyn Ring>, RingStatus) {
    probe_with(mode, enabled::setup)
}

/// As [`probe`], with the ring made by `setup`.
pub(super) fn probe_with(
    mode: RingMode,
    setup: fn() -> io::Result<IoUring>,
) -> (Box<dyn Ring>, RingStatus) {
    let started = match mode {
        RingMode::Off => Err("switched off by configuration".to_owned()),
        RingMode::Auto => Uring::start(setup),
    };
    match started {
        Ok(ring) => {
            let reason = "available".to_owned();
            (Box::new(ring), RingStatus { chosen: "io_uring", reason })
        }
        Err(reason) => (Box::new(PlainFiles), RingStatus { chosen: "file", reason }),
    }
}
