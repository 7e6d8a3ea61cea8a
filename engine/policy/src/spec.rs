//! Owns what the operator says of a plugin.
//!
//! Refuses to know where it was said. Bound: plain data.

use std::path::PathBuf;
use std::sync::Arc;

/// A plugin to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSpec {
    /// The name in metrics and logs.
    pub name: String,
    /// Where the component comes from.
    pub source: PluginSource,
    /// The text of one JSON object, handed to the plugin.
    pub settings_json: String,
    /// What one call may use.
    pub limits: PluginLimits,
}

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// A policy that ships inside the binary, by its name.
    Builtin(String),
    /// A component file.
    File(PathBuf),
    /// The bytes of a component.
    Bytes(Arc<[u8]>),
}

/// What one call of a plugin may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginLimits {
    /// Memory of one instance, in bytes.
    pub memory_bytes: usize,
    /// Time of one call in microseconds. It is kept by a clock whose ticks are a quarter of the
    /// shortest deadline and at least 1 ms, so a call is stopped at most two ticks late and never
    /// early.
    pub deadline_us: u64,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self { memory_bytes: 8 << 20, deadline_us: 10_000 }
    }
}
