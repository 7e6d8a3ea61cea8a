//! Owns the policies that are compiled in, as they decide where no plugin does.
//!
//! Refuses to know plugins. Bound: as the policies.

use truststram_decide::aggregation::{
    self, Admission, CostlyFacts, Outcome, Round, Update, Updates,
};
use truststram_decide::selection::{self, Assignments, Clients, RoundRequest};

use super::ports::Policy;

/// The policies and their settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativePolicy {
    /// Who trains.
    pub selection: selection::Settings,
    /// What becomes of updates.
    pub aggregation: aggregation::Settings,
}

impl Policy for NativePolicy {
    fn select(&mut self, request: &RoundRequest, clients: &Clients) -> Result<Assignments, String> {
        selection::select(&self.selection, request, clients)
    }

    fn wanted(&mut self) -> CostlyFacts {
        self.aggregation.wanted()
    }

    fn admit(&mut self, round: &Round, update: &Update) -> Admission {
        aggregation::admit(&self.aggregation, round, update)
    }

    fn make_plan(&mut self, _: &Round, updates: &Updates) -> Result<Outcome, String> {
        aggregation::make_plan(&self.aggregation, updates)
    }
}
