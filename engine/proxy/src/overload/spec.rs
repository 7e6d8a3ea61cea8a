//! Owns what overload is: the figures of strain, their limits, and which requests they concern.
//!
//! Refuses to read the machine. Bound: one value for each figure.

use std::sync::Arc;
use std::time::Duration;

use super::valve::Valve;
use crate::limit::Key;

/// How strained the machine is, or how much it may be; `None` where that is not known, or does not
/// matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strain {
    /// Percent of the last ten seconds in which some thread waited for a processor.
    pub cpu_percent: Option<u32>,
    /// The same for memory.
    pub memory_percent: Option<u32>,
    /// The same for disks.
    pub io_percent: Option<u32>,
    /// Milliseconds for which predictions waited to be computed.
    pub queue_ms: Option<u32>,
}

impl Strain {
    fn each(&self) -> [(&'static str, Option<u32>); 4] {
        [
            ("cpu", self.cpu_percent),
            ("memory", self.memory_percent),
            ("io", self.io_percent),
            ("queue", self.queue_ms),
        ]
    }

    /// Whether nothing is known, or limited.
    pub(crate) fn is_empty(&self) -> bool {
        self.each().iter().all(|(_, value)| value.is_none())
    }

    /// The place of the first figure that has come to its limit.
    pub(crate) fn reached(&self, limits: &Self) -> Option<usize> {
        let mut pairs = self.each().into_iter().zip(limits.each());
        pairs.position(|((_, now), (_, most))| now.zip(most).is_some_and(|(now, most)| now >= most))
    }

    /// The name of the figure at a place.
    pub(crate) fn name(place: usize) -> &'static str {
        Self::default().each().get(place).map_or("", |(name, _)| name)
    }
}

/// What reads the strain now; asked by one thread, which it may hold up.
pub type StrainSource = Arc<dyn Fn() -> Strain + Send + Sync>;

/// Which requests are refused first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoutePriority {
    /// Refused under strain.
    Low,
    /// Waits in the queue like those of low priority.
    #[default]
    Normal,
    /// Neither refused nor made to wait.
    High,
}

/// The limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverloadSpec {
    /// Strain at which requests of low priority are refused.
    pub strain_max: Strain,
    /// Requests that may be under way; 0 for any number.
    pub in_flight_max: usize,
    /// Requests that may wait for others to end.
    pub queue_max: usize,
    /// How long one may wait.
    pub queue_wait: Duration,
    /// By what those that wait take turns.
    pub queue_key: Key,
}

impl OverloadSpec {
    /// Whether a request of this priority may have to wait, or is refused now.
    pub(crate) fn may_hold(&self, priority: RoutePriority, valve: &Valve) -> bool {
        let is_refused = priority == RoutePriority::Low && valve.strained().is_some();
        is_refused || (self.in_flight_max > 0 && priority != RoutePriority::High)
    }
}
