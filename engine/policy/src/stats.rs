//! Owns what a plugin was asked, how it answered, and why there was no answer.
//!
//! Refuses to decide anything. Bound: counters, and the text of the last error.

use std::sync::{Arc, Mutex, PoisonError};

use truststram_base::{Counter, Gauge, Histogram};

const CALL_NS: &[u64] =
    &[100, 150, 200, 300, 500, 750, 1_000, 2_000, 5_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Why there is no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub(crate) fn new() -> Self {
        Self {
            calls: Counter::new(),
            traps: Counter::new(),
            deadlines: Counter::new(),
            memory: Counter::new(),
            nonsense: Counter::new(),
            declined: Counter::new(),
            failed: Counter::new(),
            unavailable: Counter::new(),
            log_lines_dropped: Arc::new(Counter::new()),
            fuel: Counter::new(),
            swaps: Counter::new(),
            call_ns: Histogram::new(CALL_NS),
            versions: Arc::new(Gauge::new()),
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
