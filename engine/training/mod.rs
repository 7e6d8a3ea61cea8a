//! Jobs of training that this process runs: records in the store, checkpoints in the data
//! directory, results in the registry.
//!
//! ```text
//! training/JOB/checkpoint   see `truststram_train`; from it a job goes on
//! training/JOB/curve.json   the losses so far
//! training/JOB/report.json  what its report shows
//! ```
//!
//! A job that was running when the process was killed is begun again at the next start, from its
//! checkpoint, and ends with the bits that it would have had. Owns the trainers' threads. Refuses
//! to know HTTP. Bound: the jobs and trainers of the configuration.

mod base;
mod job;
mod jobs;
mod meter;
mod register;
mod report;
mod rows;
mod run;
mod trainers;

pub use jobs::{Jobs, Means};
pub use rows::{Place, Wanted, read as read_dataset, read_texts, read_words};
pub use trainers::Trainers;
