//! Owns the requests that the connection's own task answers: plain ones whose answer is at hand,
//! such as a fresh stored response, a fixed one, or that of a limit, plain ones to this process,
//! and plain ones that are passed on to a server as they are.
//!
//! Refuses everything else, which Pingora's proxy gets as it was read. Bound: a request of
//! [`REQUEST_BYTES_MAX`].

mod admitted;
mod caller;
mod decide;
mod hedge;
mod kept;
mod local;
mod pass;
mod passing;
mod plain;
mod prepared;
mod ready;
mod relay;
mod reply;
mod server;
mod turns;
mod unhedged;
mod write;

pub(crate) use admitted::{Admitted, Answered, Record};
pub(crate) use kept::Kept;
pub(crate) use plain::map_of;
pub(crate) use prepared::{Prepared, Refusals};
pub(crate) use turns::{Turns, serve};

/// Most of a request, its body included, that is waited for without Pingora.
const REQUEST_BYTES_MAX: usize = 16 << 10;
