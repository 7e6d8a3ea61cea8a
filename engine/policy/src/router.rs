//! Owns the questions to a router.
//!
//! Refuses a pick that is no index of the table. Bound: the latest table; a pick is flat numbers.

use std::mem::take;

use serde::{Deserialize, Serialize};
use truststram_decide::routing::{NO_CHOICE, Table};

use crate::instance::{Instance, Part};
use crate::kind::Router;
use crate::stats::{Fault, Refusal};
use crate::v0_1_0::router::exports::truststram::policy::routing as wit;

/// A question to a router.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterQuestion {
    /// A new table.
    Observe(Table),
    /// One pick.
    Pick {
        /// Hash of what should stay together.
        key: u64,
        /// Expected work, at least 1.
        cost_hint: u32,
        /// Which try of the request.
        attempt: u32,
        /// Candidates of the latest table.
        candidates: u32,
    },
}

/// The answer of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterAnswer {
    /// The table has arrived.
    Observed,
    /// The index of the candidate; none leaves the choice to the host.
    Picked(Option<u32>),
}

impl Instance<Router> {
    /// Pushes a new table. Its columns are lent to the call, because the generated type owns what
    /// it hands over: a copy of each would take longer than the call.
    ///
    /// # Errors
    /// Why it did not arrive; picks go by the table before, or by none.
    pub fn observe(&mut self, table: &mut Table) -> Result<(), Refusal> {
        let Table { now_ms, .. } = *table;
        let lent = wit::Table {
            now_ms,
            ids: take(&mut table.ids),
            weights: take(&mut table.weights),
            in_flight: take(&mut table.in_flight),
            capacities: take(&mut table.capacities),
            latency_us: take(&mut table.latency_us),
            error_shares: take(&mut table.error_shares),
            cost_per_hour: take(&mut table.cost_per_hour),
            states: take(&mut table.states),
        };
        let answer = self.ask(
            Part::Push,
            |router, store| router.truststram_policy_routing().call_observe(store, &lent),
            Ok,
        );
        *table = Table {
            now_ms,
            ids: lent.ids,
            weights: lent.weights,
            in_flight: lent.in_flight,
            capacities: lent.capacities,
            latency_us: lent.latency_us,
            error_shares: lent.error_shares,
            cost_per_hour: lent.cost_per_hour,
            states: lent.states,
        };
        self.note(|| RouterQuestion::Observe(table.clone()), &answer, |()| RouterAnswer::Observed);
        answer
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
        let answer = self.ask(
            Part::Follows,
            |router, store| {
                let routing = router.truststram_policy_routing();
                routing.call_pick(store, key, cost_hint, attempt)
            },
            |index| match index {
                NO_CHOICE => Ok(None),
                index if index < candidates => Ok(Some(index)),
                index => Err(Fault::nonsense(format!("picked {index} of {candidates}"))),
            },
        );
        self.note(
            || RouterQuestion::Pick { key, cost_hint, attempt, candidates },
            &answer,
            |picked| RouterAnswer::Picked(*picked),
        );
        answer
    }

    /// Asks a question that was kept.
    pub(crate) fn answer(&mut self, question: &RouterQuestion) -> Result<RouterAnswer, Refusal> {
        match question {
            RouterQuestion::Observe(table) => {
                self.observe(&mut table.clone()).map(|()| RouterAnswer::Observed)
            }
            &RouterQuestion::Pick { key, cost_hint, attempt, candidates } => {
                self.pick(key, cost_hint, attempt, candidates).map(RouterAnswer::Picked)
            }
        }
    }
}
