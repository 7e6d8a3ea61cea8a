//! Floor 4: federated learning, from the update of one client to the next model.
//!
//! Owns the bytes of updates, the numbers of their aggregation, the states of rounds, and their
//! simulation; who a request is from.
//! Refuses to know HTTP, the store and plugins. Bound: an update by the server's own schema of the
//! model; a mean by a few tiles of each update, whatever the number of clients; a round by its
//! settings.

pub mod aggregate;
pub mod codec;
mod error;
pub mod identity;
mod keystream;
pub mod privacy;
mod random;
pub mod round;
pub mod secure;
pub mod simulate;
#[cfg(test)]
mod testing;

pub use error::FederateError;
