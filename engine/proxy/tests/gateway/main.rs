//! The gateway over real sockets: a client that speaks bytes on one side, servers on the other.

mod before;
mod connections;
mod http2;
mod reloads;
mod rig;
mod routes;
mod upstreams;
