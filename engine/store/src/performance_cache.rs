//! Owns the figures of models that were asked for lately: what Redis was to the guide.
//!
//! A commit of a model's rows changes the number that its figures are kept under, so that they are
//! never older than the last commit; the time to live only bounds how old the 24 hours may be.
//! Refuses to know how figures are made. Bound: [`ENTRY_COUNT_MAX`] entries of a fixed size, less
//! than 5 MiB.

use std::sync::Arc;

use quick_cache::sync::Cache;
use truststram_base::ModelId;

use crate::core::Core;
use crate::error::StoreError;
use crate::performance::{self, ModelPerformance};

/// Most entries, and how long one lives (the guide's cache: 10,000 and 300 s).
const ENTRY_COUNT_MAX: usize = 10_000;
const TIME_TO_LIVE_US: u64 = 300_000_000;

#[derive(Clone)]
struct Entry {
    version: (u64, u64),
    made_us: u64,
    performance: Arc<ModelPerformance>,
}

/// Figures by model.
pub(crate) struct PerformanceCache {
    cache: Cache<ModelId, Entry>,
}

impl PerformanceCache {
    pub(crate) fn new() -> Self {
        Self { cache: Cache::new(ENTRY_COUNT_MAX) }
    }

    /// The figures of `model`, made now if they are not there or not true any more.
    pub(crate) fn get(
        &self,
        core: &Core,
        model: &ModelId,
    ) -> Result<Arc<ModelPerformance>, StoreError> {
        let now_us = core.clock.monotonic_us();
        // Read before the figures are made: rows that come meanwhile make them out of date.
        let version = (core.memory.changes(model), core.files.drops());
        if let Some(entry) = self.cache.get(model)
            && entry.version == version
            && now_us.saturating_sub(entry.made_us) < TIME_TO_LIVE_US
        {
            core.counters.cache_hits.add(1);
            return Ok(entry.performance);
        }
        core.counters.cache_misses.add(1);
        let performance = Arc::new(performance::of_model(core, model)?);
        let entry = Entry { version, made_us: now_us, performance: Arc::clone(&performance) };
        self.cache.insert(model.clone(), entry);
        Ok(performance)
    }
}
