//! Owns the metrics of training jobs.
//!
//! Refuses to count: they are read off the board. Bound: one row each.

use std::fmt::Error;

use super::Page;
use crate::training::Jobs;

/// How many jobs wait and run.
pub(super) fn rows(jobs: &Jobs, page: &mut Page<'_>) -> Result<(), Error> {
    let (waiting, running) = jobs.depth();
    let mut gauge = |name: &str, help: &str, value: usize| {
        page.gauges(
            &format!("truststram_training_jobs_{name}"),
            help,
            vec![(Vec::new(), value as u64)],
        )
    };
    gauge("waiting", "Training jobs that wait for a trainer", waiting)?;
    gauge("running", "Training jobs that are trained", running)
}
