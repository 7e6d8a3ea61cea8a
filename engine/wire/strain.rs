//! Owns how strained the machine is, for the gateway: the kernel's pressure, and how long the
//! predictions of the last second waited.
//!
//! Refuses to judge it. Bound: three small files and the figures of the workers for each reading.

use std::sync::{Arc, Mutex, PoisonError};

use truststram_machine::{Pressure, Resource};
use truststram_model::Engine;
use truststram_proxy::{Strain, StrainSource};

use super::sink::Ticket;

/// What reads it. Figures that the kernel does not keep are not known.
pub fn source(engine: Arc<Engine<Ticket>>) -> StrainSource {
    let before = Mutex::new(((0, 0), 0));
    let percent = |resource| Pressure::of_host(resource).ok().map(|now| now.some_avg10 as u32);
    Arc::new(move || {
        let workers = engine.stats();
        let queued = workers.iter().map(|worker| (worker.queue_us.sum, worker.queue_us.count));
        let now = queued.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        let mean_ms = match mean_ms(before.0, now) {
            Some(mean_ms) => mean_ms,
            // Those that wait still wait no less than those before them.
            None if workers.iter().any(|worker| worker.unanswered > 0) => before.1,
            None => 0,
        };
        *before = (now, mean_ms);
        Strain {
            cpu_percent: percent(Resource::Cpu),
            memory_percent: percent(Resource::Memory),
            io_percent: percent(Resource::Io),
            queue_ms: Some(mean_ms),
        }
    })
}

/// The mean of what came between two readings of a sum in microseconds and its count, if any came.
fn mean_ms(before: (u64, u64), now: (u64, u64)) -> Option<u32> {
    let (sum, count) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
    Some(u32::try_from(sum.checked_div(count)? / 1_000).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_that_of_what_came_meanwhile() {
        assert_eq!(mean_ms((0, 0), (0, 0)), None);
        assert_eq!(mean_ms((9_000_000, 10), (9_030_000, 12)), Some(15));
        assert_eq!(mean_ms((9_000_000, 10), (9_000_000, 10)), None);
    }
}
