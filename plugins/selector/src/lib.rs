//! The built-in selectors: a component of world `selector` in `wit/since_v0.1.0`.
//!
//! Owns the translation between the WIT types and [`truststram_decide::selection`], and the
//! settings of this instance. Refuses to remember clients: every question brings them.
//! Bound: the clients of one call.

use std::cell::Cell;

use exports::truststram::policy::selection as wit;
use truststram::policy::types::Error;
use truststram_decide::selection as decide;

wit_bindgen::generate!({ path: "../../wit/since_v0.1.0", world: "selector" });

thread_local! {
    static SETTINGS: Cell<decide::Settings> = Cell::default();
}

struct Selector;

truststram_plugin_shell::lifecycle!(
    Selector,
    "selector",
    "the guide's score with exploration, or at random",
    |settings| {
        SETTINGS.set(decide::Settings::parse(settings)?);
        Ok(())
    }
);

impl wit::Guest for Selector {
    fn select(
        request: wit::RoundRequest,
        clients: wit::ClientColumns,
    ) -> Result<wit::AssignmentColumns, Error> {
        let request = decide::RoundRequest {
            round: request.round,
            now_ms: request.now_ms,
            clients_min: request.clients_min,
            clients_max: request.clients_max,
        };
        let clients = decide::Clients {
            ids: clients.ids,
            samples: clients.samples,
            cpu_cores: clients.cpu_cores,
            memory_gib: clients.memory_gib,
            bandwidth_mbps: clients.bandwidth_mbps,
            latency_ms: clients.latency_ms,
            samples_per_second: clients.samples_per_second,
            last_loss: clients.last_loss,
            last_round: clients.last_round,
            completed_shares: clients.completed_shares,
        };
        let chosen = decide::select(&SETTINGS.get(), &request, &clients);
        let decide::Assignments { ids, batch_sizes, local_epochs } =
            chosen.map_err(Error::Unsupported)?;
        Ok(wit::AssignmentColumns { ids, batch_sizes, local_epochs })
    }
}

export!(Selector);
