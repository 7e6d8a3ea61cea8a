//! Federations in one process: virtual clients on a virtual clock, over the code that serves real
//! ones.
//!
//! Owns the clients' delays, failures and attacks, and what is counted. Refuses to know data and
//! networks: a [`Learner`] trains. Bound: what a learner holds, and the models and bodies of one
//! federation in memory; the same seed gives the same history.

mod client;
mod memory;
mod partition;
mod run;
mod secure;

pub use client::Attack;
pub use partition::{Split, partition};
pub use run::{Conditions, History, Learner, Point, Trained, run};
pub use secure::SecureCost;

#[cfg(test)]
mod tests;
