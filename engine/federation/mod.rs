//! A federation that this process runs: the rounds of `truststram-federate` on the store's records
//! and files of the data directory, its versions in the registry.
//!
//! ```text
//! fl/RUN/arriving, updates, models   see `truststram_federate::round::Folder`
//! fl/RUN/served/VERSION.safetensors  models as clients fetch them
//! fl/RUN/partial/TASK-SHA256.part    uploads in parts
//! ```
//!
//! Owns the thread on which all of it happens, one request after the other. Refuses to know HTTP.
//! Bound: one federation at a time; queues, waiters and watchers by the configuration.

pub mod arriving;
mod desk;
mod ledger;
mod models;
mod notices;
mod parts;
mod policy;
mod register;
mod run;
mod spec;
mod status;
mod thread;

pub use desk::{Awaited, Desk, Means};
pub use models::{place, schema_of};
pub use notices::Notices;
pub use policy::Plugins;
pub use thread::FederationThread;
