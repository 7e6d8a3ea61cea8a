//! Owns the joint of policy and model: each worker asks its own instance of the batcher plugin,
//! and the native default answers where the plugin does not.
//!
//! Refuses to know why a plugin failed; `policy` counts that. Bound: one call of the plugin's
//! deadline per decision.

use truststram_decide::batching::Moment;
use truststram_model::{BatchDecision, Batcher, NativeBatcher, QueueView};
use truststram_policy::{self as policy, Instance};

/// A batcher plugin with the native default behind it.
pub struct PluginBatcher {
    instance: Instance<policy::Batcher>,
}

impl PluginBatcher {
    /// A batcher that asks `instance`.
    pub fn new(instance: Instance<policy::Batcher>) -> Self {
        Self { instance }
    }
}

impl Batcher for PluginBatcher {
    fn decide(&mut self, view: &QueueView) -> BatchDecision {
        let asked = Moment {
            // Every model of this version takes requests of one size.
            bucket: 0,
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
