//! Owns what the store does to itself from time to time: reading all segments again to find damage
//! before anybody needs them, dropping months that are too old, moving months to their tier.
//!
//! Refuses to hurry: reading is held to a rate. Bound: one month at a time.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use truststram_base::Clock;

use crate::options::MaintenanceOptions;
use crate::store::Store;

/// How often it looks whether there is something to do.
const ROUND: Duration = Duration::from_secs(600);

/// Ends the thread that keeps a store in order.
#[derive(Debug, Default)]
pub struct Upkeep {
    is_ending: Mutex<bool>,
    ended: Condvar,
}

impl Upkeep {
    /// Has [`Upkeep::run`] return soon.
    pub fn end(&self) {
        *self.is_ending.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.notify_all();
    }

    fn is_ending(&self) -> bool {
        *self.is_ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps; whether to go on.
    fn sleep(&self, time: Duration) -> bool {
        let is_ending = self.is_ending.lock().unwrap_or_else(PoisonError::into_inner);
        let slept = self.ended.wait_timeout_while(is_ending, time, |is_ending| !*is_ending);
        !*slept.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Keeps `store` in order until it is ended. Runs on the caller's thread.
    pub fn run(&self, store: &Arc<Store>, options: &MaintenanceOptions) {
        let mut scrubbed_us = store.core.clock.monotonic_us();
        while self.sleep(ROUND) {
            self.keep_order(store, options);
            let clock = &store.core.clock;
            let scrub_every_us = u64::from(options.scrub_every_h) * 3_600_000_000;
            let since_us = clock.monotonic_us().saturating_sub(scrubbed_us);
            if scrub_every_us > 0 && since_us >= scrub_every_us {
                self.scrub(store, options.scrub_mib_per_s);
                scrubbed_us = clock.monotonic_us();
            }
        }
    }

    /// Retention and tiers, once.
    pub fn keep_order(&self, store: &Arc<Store>, options: &MaintenanceOptions) {
        if options.keep_days > 0
            && let Err(error) = store.drop_months_older_than(options.keep_days)
        {
            tracing::error!(%error, "cannot drop old months");
        }
        if let Err(error) = store.move_to_tiers(&mut |_| !self.is_ending()) {
            tracing::error!(%error, "cannot move a month to its tier");
        }
    }

    /// Reads everything once, `mib_per_s` at most, and logs what is wrong.
    pub fn scrub(&self, store: &Arc<Store>, mib_per_s: u32) {
        let clock: &Arc<dyn Clock> = &store.core.clock;
        let start_us = clock.monotonic_us();
        let report = store.verify(&mut |progress| {
            let due_us =
                progress.bytes.saturating_mul(1_000_000) / (u64::from(mib_per_s.max(1)) << 20);
            let passed_us = clock.monotonic_us().saturating_sub(start_us);
            match due_us.checked_sub(passed_us) {
                Some(ahead_us) if ahead_us > 1_000 => self.sleep(Duration::from_micros(ahead_us)),
                _ => !self.is_ending(),
            }
        });
        match report {
            Ok(report) => {
                let counters = &store.core.counters;
                counters.scrubs.add(1);
                counters.scrub_findings.add(report.findings.len() as u64);
                for finding in report.findings.iter().take(100) {
                    tracing::error!(%finding, "stored data is damaged; restore it from a backup");
                }
                let rows = report.checked.rows;
                tracing::info!(rows, findings = report.findings.len(), "scrub is done");
            }
            Err(error) => tracing::error!(%error, "the scrub ended early"),
        }
    }
}
