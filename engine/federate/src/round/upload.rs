//! Owns the judgement of one upload: whose it is, if it is late, if it fits, if it counts.
//!
//! Refuses to let one bad update touch the round. Bound: two passes over the body.

use truststram_decide::aggregation::{Admission, Round, Update as Facts};

use super::federation::Federation;
use super::ports::{Files, Ledger, Policy};
use super::records::{Client, Entry, Phase, Task, TaskState, Update};
use crate::aggregate::Difference;
use crate::codec::{Kind, measure};
use crate::error::{FederateError, field_error};

/// What comes with the body of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// SHA-256 of the body, computed by the server.
    pub sha256: [u8; 32],
    /// Examples that it was trained on.
    pub examples: f64,
    /// The client's mean loss, if it says so.
    pub train_loss: Option<f32>,
    /// How long the body took to arrive, seconds.
    pub upload_s: f64,
}

/// What becomes of an upload that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It counts.
    Accepted,
    /// The same body was accepted before.
    Again,
}

impl<L: Ledger, F: Files, P: Policy> Federation<L, F, P> {
    /// Whether an update of this body would be taken, before any of it has arrived; what is said
    /// of one that was.
    ///
    /// # Errors
    /// [`FederateError::Unknown`], [`FederateError::Gone`] and [`FederateError::Conflict`], as
    /// [`Federation::upload`].
    pub fn expects(
        &mut self,
        now_us: i64,
        (client, task): (u32, u64),
        sha256: &[u8; 32],
    ) -> Result<Option<Receipt>, FederateError> {
        let task = self.known(now_us, (client, task))?;
        match &task.update {
            Some(update) if update.sha256 == *sha256 => Ok(Some(Receipt::Again)),
            Some(_) => Err(FederateError::Conflict { task: task.id }),
            None => self.in_time(now_us, &task).map(|_| None),
        }
    }

    /// The task of a client, which is heard of.
    fn known(&mut self, now_us: i64, (client, task): (u32, u64)) -> Result<Task, FederateError> {
        self.heard(now_us, client)?;
        let found = self.state.tasks.get(&task).filter(|found| found.client == client);
        found.cloned().ok_or(FederateError::Unknown { what: "task", id: task })
    }

    /// How stale an update of a task is, if it is not too late for one.
    fn in_time(&self, now_us: i64, task: &Task) -> Result<u64, FederateError> {
        let staleness = self.staleness(task);
        if task.state != TaskState::Open || task.deadline_us <= now_us {
            return Err(FederateError::Gone { task: task.id, reason: "its round is over" });
        }
        if staleness > u64::from(self.settings.staleness_max) {
            return Err(FederateError::Gone { task: task.id, reason: "its model is too old" });
        }
        Ok(staleness)
    }

    /// Takes an update in. It is durable once this returns.
    ///
    /// # Errors
    /// Why it is refused: [`FederateError::Unknown`] for another's task, [`FederateError::Gone`]
    /// for one that is over, [`FederateError::Conflict`] for a second body, what is wrong with the
    /// body; or what the ports say, after which the federation is to be opened anew.
    pub fn upload(
        &mut self,
        now_us: i64,
        of: (u32, u64),
        claim: Claim,
        body: F::Upload,
    ) -> Result<Receipt, FederateError> {
        let task = self.known(now_us, of)?;
        if let Some(update) = &task.update {
            return match update.sha256 == claim.sha256 {
                true => Ok(Receipt::Again),
                false => Err(FederateError::Conflict { task: task.id }),
            };
        }
        match self.judge(now_us, &task, claim, &body) {
            Ok((update, is_complete, bytes)) => {
                self.files.keep(task.id, body)?;
                self.accept(now_us, task, update, claim, (is_complete, bytes))?;
                Ok(Receipt::Accepted)
            }
            Err(error) => {
                // The count is for the operator: it is kept with the next commit.
                self.state.job.totals.refused += 1;
                Err(error)
            }
        }
    }

    /// What is to be remembered of an update, if it counts, and whether it completes the round.
    fn judge(
        &mut self,
        now_us: i64,
        task: &Task,
        claim: Claim,
        body: &F::Upload,
    ) -> Result<(Update, bool, u64), FederateError> {
        let staleness = self.in_time(now_us, task)?;
        self.takes_input(task)?;
        // What a client has is what it has said when it was enrolled, at most twice.
        let known = self.state.clients.get(&task.client).map_or(1, |c| c.resources.samples);
        let most = self.settings.examples_max.min(known.saturating_mul(2));
        let is_count = claim.examples >= 1.0 && claim.examples.fract() == 0.0;
        if !is_count || claim.examples > most as f64 {
            return Err(field_error("number of examples", claim.examples, format!("1 to {most}")));
        }
        let received = self.files.received(body, &self.sent)?;
        let head = received.head();
        if head.base != task.base {
            return Err(field_error("base", head.base, task.base));
        }
        let bytes = received.bytes();
        if (head.kind == Kind::Masked) != self.settings.secure.is_some() {
            let (found, expected) = match self.settings.secure {
                Some(_) => ("not masked", "masked: the federation aggregates securely"),
                None => ("masked", "delta or weights: the federation sums no masked updates"),
            };
            return Err(field_error("kind", found, expected));
        }
        if head.kind == Kind::Masked {
            return Ok((masked(claim, staleness), false, bytes));
        }
        let is_weights = head.kind == Kind::Weights;
        let l2_norm = match is_weights {
            false => measure(&received, &self.schema)?,
            true => {
                let base = self.files.model(task.base)?.values;
                measure(&Difference { weights: received, base }, &self.schema)?
            }
        }
        .l2_norm;
        let update = Update {
            sha256: claim.sha256,
            examples: claim.examples as u64,
            staleness: staleness as u32,
            l2_norm,
            train_loss: claim.train_loss.filter(|loss| loss.is_finite()),
            is_weights,
        };
        let facts = facts(task, &update);
        match self.policy.admit(&self.context(now_us), &facts) {
            Admission::Refuse(reason) => Err(FederateError::Refused { reason }),
            Admission::Accept => Ok((update, false, bytes)),
            Admission::AcceptAndAggregate => Ok((update, true, bytes)),
        }
    }

    fn accept(
        &mut self,
        now_us: i64,
        task: Task,
        update: Update,
        claim: Claim,
        (is_complete, bytes): (bool, u64),
    ) -> Result<(), FederateError> {
        let mut job = self.state.job.clone();
        job.totals.accepted += 1;
        job.totals.bytes += bytes;
        if is_complete {
            job.phase = Phase::Due;
        }
        let mut entries = vec![Entry::Job(job)];
        if let Some(client) = self.state.clients.get(&task.client) {
            let worked_s = ((now_us - task.given_us) as f64 / 1e6 - claim.upload_s).max(1e-3);
            let trained = update.examples as f64 * f64::from(task.assignment.local_epochs);
            let bandwidth = 8e-6 * bytes as f64 / claim.upload_s.max(1e-3);
            entries.push(Entry::Client(Client {
                finished: client.finished + 1,
                last_loss: update.train_loss,
                samples_per_second: Some((trained / worked_s) as f32),
                bandwidth_mbps: Some(bandwidth as f32),
                ..client.clone()
            }));
        }
        let state = TaskState::Accepted;
        entries.push(Entry::Task(Task { state, update: Some(update), ..task }));
        self.commit(entries)
    }

    /// Where the training stands, as an aggregator reads it.
    pub(super) fn context(&self, now_us: i64) -> Round {
        let job = &self.state.job;
        Round {
            round: job.round,
            now_ms: u64::try_from(now_us / 1_000).unwrap_or(0),
            parameters: self.schema.parameters() as u64,
            clients_asked: match job.phase {
                Phase::Collecting { waited_for, .. } => waited_for,
                _ => 1,
            },
            buffered: self.state.accepted().count() as u32,
        }
    }
}

/// What is to be remembered of a masked update, of which nothing is known.
fn masked(claim: Claim, staleness: u64) -> Update {
    Update {
        sha256: claim.sha256,
        examples: 1,
        staleness: staleness as u32,
        l2_norm: 0.0,
        train_loss: None,
        is_weights: false,
    }
}

/// An update as an aggregator reads it.
pub(super) fn facts(task: &Task, update: &Update) -> Facts {
    Facts {
        client: task.client,
        staleness: update.staleness,
        samples: update.examples,
        l2_norm: update.l2_norm as f32,
        train_loss: update.train_loss.unwrap_or(f32::NAN),
    }
}
