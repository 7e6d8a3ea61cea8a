//! Owns the questions to a selector.
//!
//! Refuses a selection outside of the bounds that `selection.wit` states. Bound: columns of at most
//! [`CLIENTS_MAX`] clients.

use serde::{Deserialize, Serialize};
use truststram_decide::selection::{Assignments, Clients, RoundRequest};

use crate::instance::{Instance, Part, accepted};
use crate::kind::Selector;
use crate::stats::{Fault, Refusal};
use crate::v0_1_0::selector::exports::truststram::policy::selection as wit;

/// Most clients of one question.
pub const CLIENTS_MAX: usize = 100_000;
const BATCH_SIZE_MAX: u32 = 65_536;
const LOCAL_EPOCHS_MAX: u32 = 1_000;

/// A question to a selector.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SelectorQuestion {
    /// The round that is about to start.
    pub request: RoundRequest,
    /// The clients that could take part.
    pub clients: Clients,
}

impl Instance<Selector> {
    /// Who trains in a round.
    ///
    /// # Errors
    /// Why there is no selection; the caller decides by itself then.
    pub fn select(
        &mut self,
        request: &RoundRequest,
        clients: &Clients,
    ) -> Result<Assignments, Refusal> {
        if clients.len() > CLIENTS_MAX {
            return Err(Refusal::Failed);
        }
        let asked = wit::RoundRequest {
            round: request.round,
            now_ms: request.now_ms,
            clients_min: request.clients_min,
            clients_max: request.clients_max,
        };
        let columns = wit::ClientColumns {
            ids: clients.ids.clone(),
            samples: clients.samples.clone(),
            cpu_cores: clients.cpu_cores.clone(),
            memory_gib: clients.memory_gib.clone(),
            bandwidth_mbps: clients.bandwidth_mbps.clone(),
            latency_ms: clients.latency_ms.clone(),
            samples_per_second: clients.samples_per_second.clone(),
            last_loss: clients.last_loss.clone(),
            last_round: clients.last_round.clone(),
            completed_shares: clients.completed_shares.clone(),
        };
        let answer = self.ask(
            Part::Alone,
            |bindings, store| {
                bindings.truststram_policy_selection().call_select(store, asked, &columns)
            },
            |answer| {
                let wit::AssignmentColumns { ids, batch_sizes, local_epochs } = accepted(answer)?;
                let chosen = Assignments { ids, batch_sizes, local_epochs };
                check(&chosen, request, clients).map_err(Fault::nonsense)?;
                Ok(chosen)
            },
        );
        let question = || SelectorQuestion { request: *request, clients: clients.clone() };
        self.note(question, &answer, Clone::clone);
        answer
    }

    /// Asks a question that was kept.
    pub(crate) fn answer(&mut self, question: &SelectorQuestion) -> Result<Assignments, Refusal> {
        self.select(&question.request, &question.clients)
    }
}

/// What is wrong with a selection, by the bounds that `selection.wit` states.
fn check(chosen: &Assignments, request: &RoundRequest, clients: &Clients) -> Result<(), String> {
    let found = chosen.ids.len();
    let (least, most) = (request.clients_min as usize, request.clients_max as usize);
    if chosen.batch_sizes.len() != found || chosen.local_epochs.len() != found {
        return Err("its columns differ in length".to_owned());
    }
    if found < least || found > most.max(least) {
        return Err(format!("chose {found} clients; {least} to {most} were wanted"));
    }
    let mut known = clients.ids.clone();
    known.sort_unstable();
    let mut ids = chosen.ids.clone();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("chose client {} twice", pair[0]));
    }
    if let Some(id) = ids.iter().find(|&id| known.binary_search(id).is_err()) {
        return Err(format!("chose client {id}, who is not there"));
    }
    let out_of = |column: &[u32], most: u32| {
        column.iter().copied().find(|value| !(1..=most).contains(value))
    };
    if let Some(size) = out_of(&chosen.batch_sizes, BATCH_SIZE_MAX) {
        return Err(format!("a batch size of {size}"));
    }
    match out_of(&chosen.local_epochs, LOCAL_EPOCHS_MAX) {
        Some(epochs) => Err(format!("{epochs} local epochs")),
        None => Ok(()),
    }
}
