//! Owns the figures of one worker, added to where its batches are computed, and read from anywhere.
//!
//! Refuses to know exposition formats. Bound: fixed counters and three fixed histograms.

use truststram_base::{Counter, Histogram, HistogramSnapshot};
use truststram_machine::Placement;

const BATCH_SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
const TIMES_US: &[u64] = &[
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000,
];

/// Counters of one worker.
#[derive(Debug)]
pub struct WorkerStats {
    pub batches: Counter,
    pub answered: Counter,
    pub expired: Counter,
    pub failed: Counter,
    pub batcher_panics: Counter,
    pub stolen: Counter,
    pub helped: Counter,
    pub inline: Counter,
    pub batch_sizes: Histogram,
    pub queue_us: Histogram,
    pub compute_us: Histogram,
}

/// What one worker did so far.
#[derive(Clone, Debug)]
pub struct WorkerSnapshot {
    /// Where the thread runs and where its memory comes from.
    pub placement: Placement,
    /// The group of workers that share its queues.
    pub group: usize,
    /// Requests that its group accepted and has not answered yet.
    pub unanswered: u64,
    /// Batches computed.
    pub batches: u64,
    /// Requests answered with an inference.
    pub answered: u64,
    /// Requests whose deadline passed in the queue.
    pub expired: u64,
    /// Requests whose computation failed.
    pub failed: u64,
    /// Decisions that the batcher did not survive; the native default decided instead.
    pub batcher_panics: u64,
    /// Batches taken over from workers of other groups, because its own had nothing to do.
    pub stolen: u64,
    /// Times that it joined the work of another worker of its node.
    pub helped: u64,
    /// Batches of the above that a thread of the caller on its core computed by itself.
    pub inline: u64,
    /// Requests per batch.
    pub batch_sizes: HistogramSnapshot,
    /// Time in the queue per request, microseconds.
    pub queue_us: HistogramSnapshot,
    /// Time of computation per batch, microseconds.
    pub compute_us: HistogramSnapshot,
}

impl Default for WorkerStats {
    fn default() -> Self {
        Self {
            batches: Counter::new(),
            answered: Counter::new(),
            expired: Counter::new(),
            failed: Counter::new(),
            batcher_panics: Counter::new(),
            stolen: Counter::new(),
            helped: Counter::new(),
            inline: Counter::new(),
            batch_sizes: Histogram::new(BATCH_SIZES),
            queue_us: Histogram::new(TIMES_US),
            compute_us: Histogram::new(TIMES_US),
        }
    }
}

impl WorkerStats {
    pub fn snapshot(
        &self,
        placement: Placement,
        group: usize,
        unanswered: usize,
    ) -> WorkerSnapshot {
        WorkerSnapshot {
            placement,
            group,
            unanswered: unanswered as u64,
            batches: self.batches.get(),
            answered: self.answered.get(),
            expired: self.expired.get(),
            failed: self.failed.get(),
            batcher_panics: self.batcher_panics.get(),
            stolen: self.stolen.get(),
            helped: self.helped.get(),
            inline: self.inline.get(),
            batch_sizes: self.batch_sizes.snapshot(),
            queue_us: self.queue_us.snapshot(),
            compute_us: self.compute_us.snapshot(),
        }
    }
}
