//! Floor 3: policies as sandboxed WASM components.
//!
//! Owns the component host: loading, limits, deadlines, the replacement of instances that failed
//! and the breaker that lets a failing plugin rest.
//! Refuses to know what a decision is used for; `engine/wire` joins it to the model.
//! Bound: memory and time per call from [`PluginLimits`], instances by the engine's pool.

mod batcher;
mod engine;
mod error;
mod host;
mod load;
mod repair;
mod rest;
mod spec;
mod state;
mod ticker;
mod v0_1_0;

pub use batcher::{
    BatchDecision, BatchView, BatcherInstance, BatcherPlugin, PluginInfo, PluginStats, Refusal,
};
pub use error::PolicyError;
pub use host::Host;
pub use spec::{PluginLimits, PluginSource, PluginSpec};

#[cfg(test)]
mod tests;
