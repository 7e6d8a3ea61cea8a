//! Owns the segments that were read lately, ready to be read again.
//!
//! A segment never changes and its key is never used again, so nothing here becomes stale.
//! Refuses to know files. Bound: the configured bytes.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::segment::Columns;

#[derive(Clone, Copy, Debug)]
struct ByMemory;

impl Weighter<u64, Arc<Columns>> for ByMemory {
    fn weight(&self, _: &u64, columns: &Arc<Columns>) -> u64 {
        columns.memory_bytes() as u64
    }
}

/// Segments by their key.
pub(crate) struct SegmentCache {
    cache: Cache<u64, Arc<Columns>, ByMemory>,
}

impl SegmentCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        // A guess of how many there are at a time; it sizes the table.
        let count = (bytes_max / (64 << 10)).max(16);
        Self { cache: Cache::with_weighter(count, bytes_max as u64, ByMemory) }
    }

    pub(crate) fn get(&self, last_sequence: u64) -> Option<Arc<Columns>> {
        self.cache.get(&last_sequence)
    }

    pub(crate) fn put(&self, last_sequence: u64, columns: &Arc<Columns>) {
        self.cache.insert(last_sequence, Arc::clone(columns));
    }
}
