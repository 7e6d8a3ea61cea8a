//! Owns time as the engine sees it: UTC microseconds for records, monotonic microseconds for
//! deadlines.
//!
//! Refuses to know calendars and time zones. Bound: one call, no allocation.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A source of time, so that tests and replays own it.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Microseconds since the Unix epoch, UTC. May jump in either direction.
    fn utc_us(&self) -> i64;
    /// Microseconds since an arbitrary point. Never goes back.
    fn monotonic_us(&self) -> u64;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic zero is now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn utc_us(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
        }
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A clock that moves only when a test says so; both readings move together.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_us: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `utc_us`.
    pub fn at(utc_us: i64) -> Self {
        Self { now_us: AtomicI64::new(utc_us) }
    }

    /// Moves the clock by `delta_us`.
    pub fn advance(&self, delta_us: i64) {
        self.now_us.fetch_add(delta_us, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn utc_us(&self) -> i64 {
        self.now_us.load(Ordering::Relaxed)
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.now_us.load(Ordering::Relaxed)).unwrap_or(0)
    }
}
