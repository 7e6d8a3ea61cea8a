//! Owns what a plugin was asked, how it answered, and why there was no answer.
//!
//! Refuses to decide anything. Bound: counters, and the text of the last error.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use truststram_base::{Counter, Gauge, Histogram, Peak};

const CALL_NS: &[u64] =
    &[100, 150, 200, 300, 500, 750, 1_000, 2_000, 5_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Why there is no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The plugin trapped.
    Trap,
    /// The call took longer than its deadline.
    Deadline,
    /// The plugin wanted more memory than its limit, and trapped.
    Memory,
    /// The decision is outside its bounds.
    Nonsense,
    /// The plugin answered that it cannot decide this.
    Declined,
    /// The host could not make the call, or the answer was larger than its limit.
    Failed,
    /// The plugin rests after a failure, or its instance is being replaced.
    Unavailable,
    /// The operator has it not asked.
    Disabled,
}

/// What took the place of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The native default decided.
    Default,
    /// The latest good decision went on.
    LastGood,
    /// What asked for the decision was refused.
    Reject,
}

/// A refusal with the words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of refusal.
    pub refusal: Refusal,
    /// What was wrong.
    pub reason: String,
}

impl Fault {
    /// A decision outside of its bounds.
    pub(crate) fn nonsense(reason: impl Into<String>) -> Self {
        Self { refusal: Refusal::Nonsense, reason: reason.into() }
    }
}

/// What a plugin was asked and how it answered.
#[derive(Debug)]
pub struct PluginStats {
    /// Calls made.
    pub calls: Counter,
    /// Calls that trapped.
    pub traps: Counter,
    /// Calls stopped at their deadline.
    pub deadlines: Counter,
    /// Calls that ended at the memory limit.
    pub memory: Counter,
    /// Decisions outside their bounds.
    pub nonsense: Counter,
    /// Calls that the plugin answered with an error.
    pub declined: Counter,
    /// Calls that the host could not make.
    pub failed: Counter,
    /// Questions not asked, because the plugin rested or was being replaced.
    pub unavailable: Counter,
    /// What took the place of decisions, in the order of [`Fallback`].
    fallbacks: [Counter; 3],
    /// Most memory that an instance had, bytes.
    pub memory_bytes_peak: Arc<Peak>,
    /// Runs of decisions that could not be kept.
    pub runs_dropped: Counter,
    /// Log lines over the limit.
    pub log_lines_dropped: Arc<Counter>,
    /// Instructions of all calls, on a host that counts them.
    pub fuel: Counter,
    /// Times that another component took this one's place.
    pub swaps: Counter,
    /// Time of a call, nanoseconds.
    pub call_ns: Histogram,
    /// Components in memory: the present one, the one before it, and any still in use.
    pub versions: Arc<Gauge>,
    pub(crate) resting: Gauge,
    last_error: Mutex<Option<String>>,
}

impl PluginStats {
    /// `versions` counts the components in memory, of a plugin and of its trial together.
    pub(crate) fn new(versions: Arc<Gauge>) -> Self {
        Self {
            calls: Counter::new(),
            traps: Counter::new(),
            deadlines: Counter::new(),
            memory: Counter::new(),
            nonsense: Counter::new(),
            declined: Counter::new(),
            failed: Counter::new(),
            unavailable: Counter::new(),
            fallbacks: [const { Counter::new() }; 3],
            memory_bytes_peak: Arc::new(Peak::new()),
            runs_dropped: Counter::new(),
            log_lines_dropped: Arc::new(Counter::new()),
            fuel: Counter::new(),
            swaps: Counter::new(),
            call_ns: Histogram::new(CALL_NS),
            versions,
            resting: Gauge::new(),
            last_error: Mutex::new(None),
        }
    }

    /// Failed calls by kind, under the names that metrics and status give them.
    pub fn failures(&self) -> [(&'static str, u64); 6] {
        [
            ("trap", self.traps.get()),
            ("deadline", self.deadlines.get()),
            ("memory", self.memory.get()),
            ("nonsense", self.nonsense.get()),
            ("declined", self.declined.get()),
            ("failed", self.failed.get()),
        ]
    }

    /// Counts what took the place of a decision; whoever asked for it says so.
    pub fn fell_back(&self, fallback: Fallback) {
        self.fallbacks[fallback as usize].add(1);
    }

    /// What took the place of decisions, under the names that metrics and status give them.
    pub fn fallbacks(&self) -> [(&'static str, u64); 3] {
        let [default, last_good, reject] = &self.fallbacks;
        [("default", default.get()), ("last-good", last_good.get()), ("reject", reject.get())]
    }

    /// What was wrong with the latest call that failed.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count(&self, fault: &Fault) {
        let counter = match fault.refusal {
            Refusal::Trap => &self.traps,
            Refusal::Deadline => &self.deadlines,
            Refusal::Memory => &self.memory,
            Refusal::Nonsense => &self.nonsense,
            Refusal::Declined => &self.declined,
            Refusal::Failed => &self.failed,
            Refusal::Unavailable | Refusal::Disabled => &self.unavailable,
        };
        counter.add(1);
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(fault.reason.clone());
    }
}
