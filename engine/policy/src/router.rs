//! Owns the questions to a router.
//!
//! Refuses a pick that is no index of the table. Bound: the latest table; a pick is flat numbers.

use truststram_decide::routing::{NO_CHOICE, Table};

use crate::instance::Instance;
use crate::kind::Router;
use crate::stats::{Fault, Refusal};
use crate::v0_1_0::router::exports::truststram::policy::routing as wit;

impl Instance<Router> {
    /// Pushes a new table.
    ///
    /// # Errors
    /// Why it did not arrive; picks go by the table before, or by none.
    pub fn observe(&mut self, table: &Table) -> Result<(), Refusal> {
        let pushed = wit::Table {
            now_ms: table.now_ms,
            ids: table.ids.clone(),
            weights: table.weights.clone(),
            in_flight: table.in_flight.clone(),
            capacities: table.capacities.clone(),
            latency_us: table.latency_us.clone(),
            error_shares: table.error_shares.clone(),
            cost_per_hour: table.cost_per_hour.clone(),
            states: table.states.clone(),
        };
        self.ask(
            |bindings, store| bindings.truststram_policy_routing().call_observe(store, &pushed),
            Ok,
        )
    }

    /// Picks one of the `candidates` of the latest table, by its index; `None` leaves the choice to
    /// the caller.
    ///
    /// # Errors
    /// Why there is no decision; the caller decides by itself then.
    pub fn pick(
        &mut self,
        key: u64,
        cost_hint: u32,
        attempt: u32,
        candidates: u32,
    ) -> Result<Option<u32>, Refusal> {
        self.ask(
            |bindings, store| {
                bindings.truststram_policy_routing().call_pick(store, key, cost_hint, attempt)
            },
            |index| match index {
                NO_CHOICE => Ok(None),
                index if index < candidates => Ok(Some(index)),
                index => Err(Fault::nonsense(format!("picked {index} of {candidates}"))),
            },
        )
    }
}
