//! Floor 4: federated learning, from the update of one client to the next model.
//!
//! Owns the bytes of updates and the numbers of their aggregation.
//! Refuses to know HTTP, the store and plugins. Bound: an update by the server's own schema of the
//! model; a mean by a few tiles of each update, whatever the number of clients.

pub mod aggregate;
pub mod codec;
mod error;
#[cfg(test)]
mod testing;

pub use error::FederateError;
