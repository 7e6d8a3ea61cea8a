//! Tests of the cache over real sockets: a scripted origin, Pingora in the middle, a client.

mod harness;
mod reuse;
mod revalidate;
mod shared;
mod special;
