//! A router that picks the least loaded of the healthy candidates.

use std::cell::{Cell, RefCell};

use exports::truststram::policy::lifecycle::{self, PluginInfo};
use exports::truststram::policy::routing::{self, Table};
use truststram::policy::types::Error;

wit_bindgen::generate!({ path: "wit", world: "router" });

const HEALTHY: u32 = 1;
const DRAINING: u32 = 2;
/// Leaves the choice to the host.
const NO_CHOICE: u32 = u32::MAX;

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Tries of a request after which the host chooses.
    attempts_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { attempts_max: 3 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), &'static str> {
        if self.attempts_max == 0 { Err("`attempts_max` must be at least 1") } else { Ok(()) }
    }
}

/// A candidate that may be picked.
struct Candidate {
    index: u32,
    weight: u64,
    /// As of the table, plus the picks since.
    in_flight: u64,
    /// `u64::MAX` where no limit is known.
    capacity: u64,
}

thread_local! {
    // An instance has one thread, so these are its own.
    static SETTINGS: Cell<Settings> = Cell::default();
    static CANDIDATES: RefCell<Vec<Candidate>> = RefCell::default();
    static LAST: Cell<u32> = const { Cell::new(NO_CHOICE) };
}

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "the least loaded of the healthy candidates".to_owned(),
        }
    }

    fn configure(settings: String) -> Result<(), Error> {
        let settings: Settings = serde_json::from_str(&settings)
            .map_err(|error| Error::InvalidConfig(error.to_string()))?;
        settings.check().map_err(|reason| Error::InvalidConfig(reason.to_owned()))?;
        SETTINGS.set(settings);
        Ok(())
    }

    // There is nothing to carry over to a newer version.
    fn snapshot() -> Vec<u8> {
        Vec::new()
    }

    fn restore(_state: Vec<u8>) -> Result<(), Error> {
        Ok(())
    }
}

impl routing::Guest for Plugin {
    fn observe(table: Table) {
        let loads = table.weights.iter().zip(&table.in_flight).zip(&table.capacities);
        let candidates = (0..)
            .zip(table.states.iter().zip(loads))
            .filter(|(_, (state, _))| *state & (HEALTHY | DRAINING) == HEALTHY)
            .map(|(index, (_, ((weight, in_flight), capacity)))| Candidate {
                index,
                weight: u64::from(*weight).max(1),
                in_flight: u64::from(*in_flight),
                capacity: if *capacity == 0 { u64::MAX } else { u64::from(*capacity) },
            })
            .collect();
        CANDIDATES.set(candidates);
        LAST.set(NO_CHOICE);
    }

    fn pick(_key: u64, _cost_hint: u32, attempt: u32) -> u32 {
        if attempt >= SETTINGS.get().attempts_max {
            return NO_CHOICE;
        }
        // The host asks again because the last pick was no use.
        let avoided = if attempt > 0 { LAST.get() } else { NO_CHOICE };
        let picked = CANDIDATES.with_borrow_mut(|candidates| {
            let best = candidates
                .iter_mut()
                .filter(|one| one.index != avoided && one.in_flight < one.capacity)
                // Load is in flight per weight; a / b < c / d without a division.
                .reduce(|a, b| {
                    if b.in_flight * a.weight < a.in_flight * b.weight { b } else { a }
                })?;
            best.in_flight = (best.in_flight + 1).min(u64::from(u32::MAX));
            Some(best.index)
        });
        let picked = picked.unwrap_or(NO_CHOICE);
        LAST.set(picked);
        picked
    }
}

export!(Plugin);
