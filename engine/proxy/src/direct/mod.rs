//! Owns the requests that are answered without Pingora: plain ones whose answer is at hand, such as
//! a fresh stored response, a fixed one, or that of a limit.
//!
//! Refuses everything else, which Pingora gets as it was read. Bound: a head that came in one read
//! of [`HEAD_BYTES_MAX`].

mod answer;
mod plain;
mod prepared;
mod ready;
mod turns;

pub(crate) use plain::map_of;
pub(crate) use prepared::{Prepared, Refusals};
pub(crate) use ready::{Answered, Record};
pub(crate) use turns::{Turns, serve};

/// What is read at a time while a request is waited for.
const HEAD_BYTES_MAX: usize = 4 << 10;
