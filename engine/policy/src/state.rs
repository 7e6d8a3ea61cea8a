//! Owns what the host keeps for one instance: its limits and its two imports.
//!
//! Refuses to give an instance anything else. Bound: memory by the plugin's limit, log lines by
//! [`LOG_LINES_PER_WINDOW`] and [`LOG_LINE_BYTES_MAX`].

use std::sync::Arc;

use truststram_base::{Clock, Counter, Peak};
use wasmtime::ResourceLimiter;

use crate::stats::PluginStats;
use crate::v0_1_0::{host, types};

const LOG_LINES_PER_WINDOW: u32 = 10;
const LOG_WINDOW_US: u64 = 1_000_000;
const LOG_LINE_BYTES_MAX: usize = 1_024;
/// Elements of all tables; components made by the usual tools have a few dozen.
const TABLE_ELEMENTS_MAX: usize = 10_000;

/// The state of one instance.
pub struct InstanceState {
    plugin: Arc<str>,
    clock: Arc<dyn Clock>,
    memory_bytes_max: usize,
    memory_bytes_peak: Arc<Peak>,
    /// Whether the instance asked for more memory than it may have, since this was last reset.
    pub(crate) growth_refused: bool,
    log_window_us: u64,
    log_lines: u32,
    log_lines_dropped: Arc<Counter>,
    /// Where the sequence of seeds stands.
    pub(crate) seed: u64,
}

impl InstanceState {
    pub(crate) fn new(
        plugin: Arc<str>,
        clock: Arc<dyn Clock>,
        memory_bytes_max: usize,
        stats: &PluginStats,
    ) -> Self {
        Self {
            plugin,
            clock,
            memory_bytes_max,
            memory_bytes_peak: stats.memory_bytes_peak.clone(),
            growth_refused: false,
            log_window_us: 0,
            log_lines: 0,
            log_lines_dropped: stats.log_lines_dropped.clone(),
            seed: 0,
        }
    }
}

impl ResourceLimiter for InstanceState {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.memory_bytes_max;
        self.growth_refused |= !allowed;
        if allowed {
            self.memory_bytes_peak.observe(desired as u64);
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= TABLE_ELEMENTS_MAX;
        self.growth_refused |= !allowed;
        Ok(allowed)
    }
}

impl types::Host for InstanceState {}

impl host::Host for InstanceState {
    fn log(&mut self, level: host::Level, message: String) -> wasmtime::Result<()> {
        let now_us = self.clock.monotonic_us();
        if now_us.saturating_sub(self.log_window_us) >= LOG_WINDOW_US {
            (self.log_window_us, self.log_lines) = (now_us, 0);
        }
        self.log_lines += 1;
        if self.log_lines > LOG_LINES_PER_WINDOW {
            self.log_lines_dropped.add(1);
            return Ok(());
        }
        let text = crate::text::line(&message, LOG_LINE_BYTES_MAX);
        let plugin = &*self.plugin;
        match level {
            host::Level::Trace => tracing::trace!(plugin, "{text}"),
            host::Level::Debug => tracing::debug!(plugin, "{text}"),
            host::Level::Info => tracing::info!(plugin, "{text}"),
            host::Level::Warn => tracing::warn!(plugin, "{text}"),
            host::Level::Error => tracing::error!(plugin, "{text}"),
        }
        Ok(())
    }

    fn seed(&mut self) -> wasmtime::Result<u64> {
        // SplitMix64 (Steele, Lea and Flood, 2014) over a counter.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(mixed ^ (mixed >> 31))
    }
}
