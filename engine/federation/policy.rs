//! Owns who decides in the rounds: plugins where the configuration names some, else the policies
//! that the description of the federation says.
//!
//! A plugin that gives no decision costs its opinion alone: the policy of the description decides
//! at once. Refuses to change plugins. Bound: as the plugins.

use std::sync::Arc;

use truststram_decide::aggregation::{Admission, CostlyFacts, Outcome, Round, Update, Updates};
use truststram_decide::selection::{Assignments, Clients, RoundRequest};
use truststram_federate::round::{NativePolicy, Policy};
use truststram_policy::{Aggregator, Instance, Plugin, Selector};

/// The plugins of the configuration that decide about rounds.
#[derive(Clone, Default)]
pub struct Plugins {
    /// What becomes of updates.
    pub aggregator: Option<Arc<Plugin<Aggregator>>>,
    /// Who trains.
    pub selector: Option<Arc<Plugin<Selector>>>,
}

/// See the module.
pub(super) struct RoundPolicy {
    native: NativePolicy,
    aggregator: Option<Instance<Aggregator>>,
    selector: Option<Instance<Selector>>,
}

impl RoundPolicy {
    pub fn new(native: NativePolicy, plugins: &Plugins) -> Self {
        Self {
            native,
            aggregator: plugins.aggregator.as_ref().map(Plugin::instance),
            selector: plugins.selector.as_ref().map(Plugin::instance),
        }
    }
}

impl Policy for RoundPolicy {
    fn select(&mut self, request: &RoundRequest, clients: &Clients) -> Result<Assignments, String> {
        let asked = self.selector.as_mut().and_then(|plugin| plugin.select(request, clients).ok());
        asked.map_or_else(|| self.native.select(request, clients), Ok)
    }

    fn wanted(&mut self) -> CostlyFacts {
        let native = self.native.wanted();
        let asked = self.aggregator.as_mut().and_then(|plugin| plugin.wanted().ok());
        let asked = asked.unwrap_or_default();
        // Both may be asked for the plan.
        CostlyFacts {
            cosines: native.cosines || asked.cosines,
            squared_distances: native.squared_distances || asked.squared_distances,
        }
    }

    fn admit(&mut self, round: &Round, update: &Update) -> Admission {
        let asked = self.aggregator.as_mut().and_then(|plugin| plugin.admit(round, update).ok());
        asked.unwrap_or_else(|| self.native.admit(round, update))
    }

    fn make_plan(&mut self, round: &Round, updates: &Updates) -> Result<Outcome, String> {
        let asked =
            self.aggregator.as_mut().and_then(|plugin| plugin.make_plan(round, updates).ok());
        asked.map_or_else(|| self.native.make_plan(round, updates), Ok)
    }
}
