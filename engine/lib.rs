//! The composition root: the crates, joined into one process.
//!
//! Owns the order in which parts start and stop. Refuses to hold logic of its own: parts know
//! their ports, `wire` adapts them. Bound: every thread started here is joined by [`App::stop`].

mod app;
pub mod cli;
pub mod config;
mod events;
pub mod example;
mod federation;
mod installed;
mod keys;
mod listening;
mod quotas;
mod registry;
mod threads;
mod training;
mod wire;
mod workers;

pub use app::{Addresses, App, AppError, StartError, Started};
