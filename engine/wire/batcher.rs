//! Owns the joint of policy and model: each worker asks its own instance of the batcher plugin, and
//! where the plugin does not answer, the native default does, or the latest good decision, or the
//! requests are refused, as configured. A worker and the inline worker of its core share one, so
//! that it is asked, and exchanged, whichever of them has work.
//!
//! Refuses to know why a plugin failed; `policy` counts that. Bound: one call of the plugin's
//! deadline per decision.

use std::sync::{Arc, Mutex, TryLockError};

use truststram_decide::batching::Moment;
use truststram_model::{BatchDecision, Batcher, NativeBatcher, QueueView};
use truststram_policy::{self as policy, Fallback, Instance, Refusal};

use crate::config::raw::OnFailure;

/// A batcher plugin with the native default behind it.
pub struct PluginBatcher {
    instance: Instance<policy::Batcher>,
    on_failure: OnFailure,
    last_good: Option<u32>,
}

impl PluginBatcher {
    /// A batcher that asks `instance`.
    pub fn new(instance: Instance<policy::Batcher>, on_failure: OnFailure) -> Self {
        Self { instance, on_failure, last_good: None }
    }
}

impl PluginBatcher {
    /// The decision where the plugin gives none.
    fn instead(&self, view: &QueueView, refusal: Refusal) -> Option<BatchDecision> {
        let fallback = match (self.on_failure, self.last_good) {
            // Whoever switched the plugin off wants nothing of it.
            _ if refusal == Refusal::Disabled => return Some(NativeBatcher::decision(view)),
            (OnFailure::LastGood, Some(_)) => Fallback::LastGood,
            (OnFailure::Reject, _) => Fallback::Reject,
            (OnFailure::LastGood | OnFailure::Default, _) => Fallback::Default,
        };
        self.instance.plugin().stats().fell_back(fallback);
        match (fallback, self.last_good) {
            (Fallback::Reject, _) => None,
            (Fallback::LastGood, Some(take)) => {
                let take = take.min(view.queued).min(view.batch_max);
                Some(BatchDecision { take, wait_us: 0 })
            }
            _ => Some(NativeBatcher::decision(view)),
        }
    }
}

/// The batcher of one core.
#[derive(Clone)]
pub struct SharedBatcher(Arc<Mutex<PluginBatcher>>);

impl SharedBatcher {
    /// A batcher for whoever forms batches on one core.
    pub fn new(batcher: PluginBatcher) -> Self {
        Self(Arc::new(Mutex::new(batcher)))
    }
}

impl Batcher for SharedBatcher {
    /// While the other one asks, whose thread waits for this core, nobody waits for it.
    fn decide(&mut self, view: &QueueView) -> Option<BatchDecision> {
        match self.0.try_lock() {
            Ok(mut batcher) => batcher.decide(view),
            Err(TryLockError::Poisoned(batcher)) => batcher.into_inner().decide(view),
            Err(TryLockError::WouldBlock) => Some(NativeBatcher::decision(view)),
        }
    }
}

impl Batcher for PluginBatcher {
    fn decide(&mut self, view: &QueueView) -> Option<BatchDecision> {
        let asked = Moment {
            bucket: view.bucket,
            queued: view.queued,
            oldest_us: view.oldest_us,
            batch_max: view.batch_max,
            target_us: view.target_us,
        };
        match self.instance.decide(&asked) {
            Ok(decision) => {
                if decision.take > 0 {
                    self.last_good = Some(decision.take);
                }
                Some(BatchDecision { take: decision.take, wait_us: decision.wait_us })
            }
            Err(refusal) => self.instead(view, refusal),
        }
    }
}

#[cfg(test)]
mod tests;
