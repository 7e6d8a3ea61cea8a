//! Owns the joint of policy and model: each worker asks its own instance of the batcher plugin,
//! and the native default answers where the plugin does not.
//!
//! Refuses to know why a plugin failed; `policy` counts that. Bound: one call of the plugin's
//! deadline per decision.

use truststram_model::{BatchDecision, Batcher, NativeBatcher, QueueView};
use truststram_policy::{BatchView, BatcherInstance};

/// A batcher plugin with the native default behind it.
pub struct PluginBatcher {
    instance: BatcherInstance,
}

impl PluginBatcher {
    /// A batcher that asks `instance`.
    pub fn new(instance: BatcherInstance) -> Self {
        Self { instance }
    }
}

impl Batcher for PluginBatcher {
    fn decide(&mut self, view: &QueueView) -> BatchDecision {
        let asked = BatchView {
            queued: view.queued,
            oldest_us: view.oldest_us,
            batch_max: view.batch_max,
            target_us: view.target_us,
        };
        match self.instance.decide(&asked) {
            Ok(decision) => BatchDecision { take: decision.take, wait_us: decision.wait_us },
            Err(_counted) => NativeBatcher.decide(view),
        }
    }
}
