//! Owns the questions to a router.
//!
//! Refuses a pick that is no index of the table. Bound: the latest table; a pick is flat numbers.

use serde::{Deserialize, Serialize};
use truststram_decide::routing::{NO_CHOICE, Table};
use wasmtime::component::{ComponentType, Lower};

use crate::instance::{Instance, Part};
use crate::kind::Router;
use crate::stats::{Fault, Refusal};

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

/// The table as `routing.wit` describes it, lowered straight from slices: the generated type owns
/// its columns, which would be copied first.
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
struct Columns<'a> {
    #[component(name = "now-ms")]
    now_ms: u64,
    ids: &'a [u32],
    weights: &'a [u32],
    #[component(name = "in-flight")]
    in_flight: &'a [u32],
    capacities: &'a [u32],
    #[component(name = "latency-us")]
    latency_us: &'a [f32],
    #[component(name = "error-shares")]
    error_shares: &'a [f32],
    #[component(name = "cost-per-hour")]
    cost_per_hour: &'a [f32],
    states: &'a [u32],
}

impl Instance<Router> {
    /// Pushes a new table.
    ///
    /// # Errors
    /// Why it did not arrive; picks go by the table before, or by none.
    pub fn observe(&mut self, table: &Table) -> Result<(), Refusal> {
        let pushed = Columns {
            now_ms: table.now_ms,
            ids: &table.ids,
            weights: &table.weights,
            in_flight: &table.in_flight,
            capacities: &table.capacities,
            latency_us: &table.latency_us,
            error_shares: &table.error_shares,
            cost_per_hour: &table.cost_per_hour,
            states: &table.states,
        };
        let answer = self.ask(
            Part::Push,
            |router, store| {
                let observe = router.observe.typed::<(Columns<'_>,), ()>(&*store)?;
                observe.call(store, (pushed,))
            },
            Ok,
        );
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
            RouterQuestion::Observe(table) => self.observe(table).map(|()| RouterAnswer::Observed),
            &RouterQuestion::Pick { key, cost_hint, attempt, candidates } => {
                self.pick(key, cost_hint, attempt, candidates).map(RouterAnswer::Picked)
            }
        }
    }
}
