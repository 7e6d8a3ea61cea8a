//! Owns the checks of training jobs.
//!
//! Refuses to start them. Bound: one section.

use truststram_machine::Topology;

use super::Check;
use crate::config::raw;

impl Check<'_> {
    /// The cores that train.
    pub(super) fn training(&mut self, section: &raw::Training, topology: &Topology) -> Vec<u32> {
        let share = section.memory_used_max;
        if !(share > 0.0 && share <= 1.0) {
            let problem = format!("must be above 0 and at most 1, found {share}");
            self.fail("training.memory_used_max", problem);
        }
        let allowed = topology.cores();
        self.core_list("training.cores", &section.cores, &allowed).unwrap_or(allowed)
    }
}
