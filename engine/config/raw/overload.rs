//! Owns the section `overload` as it is typed.
//!
//! Refuses to judge values. Bound: one flat section.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is done when more comes than can be done. All of it is changed by a reload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Overload {
    /// Percent of the last ten seconds in which some thread waited for a processor
    /// (/proc/pressure/cpu, `some avg10`); from there on requests of routes with
    /// `priority = "low"` are answered 503. 0: not looked at.
    pub cpu_percent: u32,
    /// The same of /proc/pressure/memory.
    pub memory_percent: u32,
    /// The same of /proc/pressure/io.
    pub io_percent: u32,
    /// The same of the milliseconds for which the predictions of the last second waited to be
    /// computed, on average.
    pub queue_ms: u32,
    /// Public requests that may be under way at a time; 0 for any number. More wait in turns.
    /// Routes with `priority = "high"` and paths of this process that need no key are not counted.
    pub in_flight_max: usize,
    /// Requests that may wait; more are answered 503, those of the key first that has most of them
    /// there.
    pub wait_max: usize,
    /// Milliseconds that a request may wait; then it is answered 503.
    pub wait_ms: u64,
    /// By what those that wait take turns, as in `[[limits]]`: one key that asks much does not hold
    /// up the others.
    pub wait_key: String,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            cpu_percent: 0,
            memory_percent: 0,
            io_percent: 0,
            queue_ms: 0,
            in_flight_max: 0,
            wait_max: 1_000,
            wait_ms: 5_000,
            wait_key: "ip".to_owned(),
        }
    }
}
