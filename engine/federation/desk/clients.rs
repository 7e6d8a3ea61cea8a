//! Owns what clients ask besides sending updates: to be taken in, for work, for a model.
//!
//! Refuses to know who gets work. Bound: the waiters of the configuration.

use serde_json::json;
use tokio::sync::oneshot;
use truststram_api::ports::{FederatedFailure, FederatedTask, ModelFacts, NewClient, Signed};
use truststram_base::{Kind, ModelId};
use truststram_federate::round::{Mode, Resources};

use super::operate::{Token, token_name};
use super::{Answer, Desk, denied};
use crate::federation::ledger::failed as store_failed;
use crate::federation::run::failed;

impl Desk {
    /// Takes a client in, by a token or by the key that it had before.
    pub fn enrol(&mut self, signed: &Signed, new: &NewClient) -> Answer<u32> {
        self.check(signed, &new.public_key)?;
        let (now_us, clients_max) = (self.now_us(), self.means.limits.clients_max);
        let mut clients = self.going()?.rounds.state().clients.values();
        let is_known = clients.any(|client| client.public_key == new.public_key);
        let mut used = None;
        if !is_known {
            let token = new.token.as_deref().ok_or_else(|| denied("a token is needed to enrol"))?;
            used = Some(self.token(token, now_us)?);
        }
        let run = self.going()?;
        if !is_known && run.rounds.state().clients.len() >= clients_max as usize {
            let detail = "the federation has as many clients as `federated.clients_max` allows";
            return Err(FederatedFailure::new(Kind::Overloaded, detail));
        }
        *run.with.borrow_mut() = used.map(|name| (name, None)).into_iter().collect();
        let resources = Resources {
            samples: new.samples,
            cpu_cores: new.cpu_cores,
            memory_gib: new.memory_gib,
        };
        let enrolled = run.rounds.enrol(now_us, new.public_key.to_vec(), resources);
        run.with.borrow_mut().clear();
        let client = enrolled.map_err(|error| self.told(&error))?;
        if !is_known {
            self.means.notices.tell("client", &json!({ "client": client }));
        }
        Ok(client)
    }

    /// The record of a token that is valid.
    fn token(&self, token: &str, now_us: i64) -> Answer<String> {
        let name = token_name(token);
        let records = self.means.store.federation_records(&name);
        let records = records.map_err(|error| failed(&store_failed(&error)))?;
        let found = records.iter().find(|(found, _)| *found == name);
        let token = found.and_then(|(_, body)| serde_json::from_slice::<Token>(body).ok());
        match token {
            Some(token) if token.until_us > now_us => Ok(name),
            Some(_) => Err(denied("the token has expired; ask the operator for another one")),
            None => Err(denied("the token is unknown or was used; ask for another one")),
        }
    }

    /// Notes that a client is there.
    pub fn heartbeat(&mut self, signed: &Signed) -> Answer<()> {
        let client = self.admit(signed)?;
        let now_us = self.now_us();
        self.going()?.rounds.heard(now_us, client).map_err(|error| failed(&error))
    }

    /// The task of a client, now or once there is one.
    pub fn task(
        &mut self,
        signed: &Signed,
        waits: bool,
    ) -> Answer<oneshot::Receiver<Option<FederatedTask>>> {
        let client = self.admit(signed)?;
        let now_us = self.now_us();
        let task = self.going()?.task_of(now_us, client).map_err(|error| self.told(&error))?;
        let (tell, waiting) = oneshot::channel();
        if task.is_some() || !waits {
            // The client may have gone.
            let _ = tell.send(task);
            return Ok(waiting);
        }
        let waiters_max = self.means.limits.waiters_max as usize;
        if self.waiters.len() >= waiters_max {
            self.waiters.retain(|_, waiter| !waiter.is_closed());
        }
        if self.waiters.len() >= waiters_max && !self.waiters.contains_key(&client) {
            let detail = "too many clients wait for tasks; ask again shortly";
            return Err(FederatedFailure::new(Kind::Overloaded, detail));
        }
        // An earlier wait of the same client ends with nothing.
        self.waiters.insert(client, tell);
        Ok(waiting)
    }

    pub(super) fn wake(&mut self, now_us: i64) {
        if self.waiters.is_empty() {
            return;
        }
        let Some(run) = self.run.as_mut().filter(|run| run.record.ended.is_none()) else {
            // They ask again, and are told.
            self.waiters.clear();
            return;
        };
        let mut open = run.open_tasks(now_us);
        let buffered = run.record.spec.rounds.mode == Mode::Buffered;
        let waiting: Vec<u32> = self.waiters.keys().copied().collect();
        for client in waiting {
            let task = match open.remove(&client) {
                Some(task) => Some(task),
                None if buffered => run.task_of(now_us, client).unwrap_or_default(),
                None => None,
            };
            let Some(task) = task else { continue };
            if let Some(waiter) = self.waiters.remove(&client) {
                // One that has gone asks again.
                let _ = waiter.send(Some(task));
            }
        }
    }

    /// Ends all waits with nothing.
    pub fn send_away(&mut self) {
        self.waiters.clear();
        self.secure_waiters.clear();
    }

    /// The file of a version, for a client.
    pub fn model(&mut self, signed: &Signed, id: &ModelId, version: u64) -> Answer<ModelFacts> {
        self.admit(signed)?;
        let run = self.going()?;
        let facts = (run.record.spec.model == id.as_str()).then(|| run.served.facts(version));
        let unknown = || {
            let detail = format!("version {version} of `{id}` is none that is trained from now");
            FederatedFailure::new(Kind::NotFound, detail)
        };
        facts.flatten().cloned().ok_or_else(unknown)
    }
}
