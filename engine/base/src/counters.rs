//! Owns the counters that hot paths add to: relaxed atomics, no lock, no allocation.
//!
//! Refuses to know names, labels and exposition formats. Bound: a histogram has at most 32
//! buckets, given at compile time.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// A gauge at zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Sets the level.
    pub fn set(&self, level: u64) {
        self.0.store(level, Ordering::Relaxed);
    }

    /// Raises the level by `n` and returns what it was.
    pub fn raise(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::Relaxed)
    }

    /// Lowers the level by `n`.
    pub fn lower(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// The level now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The most that a level ever was.
#[derive(Debug, Default)]
pub struct Peak(AtomicU64);

impl Peak {
    /// A peak at zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Takes a level into account.
    pub fn observe(&self, level: u64) {
        self.0.fetch_max(level, Ordering::Relaxed);
    }

    /// The most so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

const BUCKET_COUNT_MAX: usize = 32;

/// A histogram with fixed upper bounds, cumulative only when it is read.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    buckets: [AtomicU64; BUCKET_COUNT_MAX + 1],
    sum: AtomicU64,
}

/// What a [`Histogram`] held at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bound of each bucket and the count in it alone (not cumulative); the last bucket's
    /// bound is `u64::MAX`.
    pub buckets: Vec<(u64, u64)>,
    /// Sum of all observations.
    pub sum: u64,
    /// Number of observations.
    pub count: u64,
}

impl Histogram {
    /// A histogram whose buckets end at `bounds` (ascending, at most 32), plus one for the rest.
    pub const fn new(bounds: &'static [u64]) -> Self {
        assert!(bounds.len() <= BUCKET_COUNT_MAX);
        Self {
            bounds,
            buckets: [const { AtomicU64::new(0) }; BUCKET_COUNT_MAX + 1],
            sum: AtomicU64::new(0),
        }
    }

    /// Counts one observation.
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Reads all buckets; observations made meanwhile may be in some figures and not in others.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let bounds = self.bounds.iter().copied().chain([u64::MAX]);
        let buckets: Vec<(u64, u64)> = bounds
            .zip(&self.buckets)
            .map(|(bound, count)| (bound, count.load(Ordering::Relaxed)))
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        HistogramSnapshot { buckets, sum: self.sum.load(Ordering::Relaxed), count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_fall_into_the_bucket_that_ends_at_or_above_them() {
        let histogram = Histogram::new(&[10, 100]);
        for value in [0, 10, 11, 100, 101, 5000] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets, [(10, 2), (100, 2), (u64::MAX, 2)]);
        assert_eq!((snapshot.sum, snapshot.count), (5222, 6));
    }
}
