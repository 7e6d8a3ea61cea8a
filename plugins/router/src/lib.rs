//! The built-in routers: a component of world `router` in `wit/since_v0.1.0`.
//!
//! Owns the translation between the WIT types and [`truststram_decide::routing`], and the router of
//! this instance. Refuses to know upstreams beyond the table that the host pushes.
//! Bound: the latest table; `pick` allocates nothing.

use std::cell::RefCell;

use exports::truststram::policy::routing::{Guest, Table};
use truststram_decide::routing::{self, Settings};

wit_bindgen::generate!({ path: "../../wit/since_v0.1.0", world: "router" });

thread_local! {
    static ROUTER: RefCell<routing::Router> = RefCell::default();
}

struct Router;

truststram_plugin_shell::lifecycle!(
    Router,
    "router",
    "least connections, weighted, round robin or latency",
    |settings| {
        ROUTER.set(routing::Router::new(Settings::parse(settings)?));
        Ok(())
    },
    || ROUTER.with_borrow(routing::Router::snapshot),
    |state| ROUTER.with_borrow_mut(|router| router.restore(&state))
);

impl Guest for Router {
    fn observe(table: Table) {
        let table = routing::Table {
            now_ms: table.now_ms,
            ids: table.ids,
            weights: table.weights,
            in_flight: table.in_flight,
            capacities: table.capacities,
            latency_us: table.latency_us,
            error_shares: table.error_shares,
            cost_per_hour: table.cost_per_hour,
            states: table.states,
        };
        ROUTER.with_borrow_mut(|router| router.observe(&table));
    }

    fn pick(_key: u64, cost_hint: u32, _attempt: u32) -> u32 {
        // Each pick counts on the candidate, so that another attempt gets another one.
        ROUTER.with_borrow_mut(|router| router.pick(cost_hint))
    }
}

export!(Router);
