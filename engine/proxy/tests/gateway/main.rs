//! The gateway over real sockets: a client that speaks bytes on one side, servers on the other.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests by clippy")]

mod access;
mod announced;
mod before;
mod cached;
mod certified;
mod compression;
mod connections;
mod direct;
mod hedging;
mod http2;
mod issuers;
mod kept;
mod keyed;
mod local;
mod logs;
mod malformed;
mod overload;
mod passed;
mod passing;
mod reloads;
mod rig;
mod routes;
mod stale;
mod tunnels;
mod turns;
mod unhedged;
mod uploads;
mod upstreams;
