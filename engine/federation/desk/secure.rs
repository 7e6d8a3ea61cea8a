//! Owns what clients ask and send in a round of secure aggregation.
//!
//! Refuses to know masks. Bound: one wait of each client, the waiters of the configuration.

use tokio::sync::oneshot;
use truststram_api::ports::{
    FederatedFailure, SecureAnswers, SecureMessage, SecureRound, SecureStep, SecureSurvivors,
    Signed, UpdateReceipt,
};
use truststram_base::Kind;
use truststram_federate::FederateError;
use truststram_federate::codec::{CLIP_BIT, Schema};
use truststram_federate::round::{Message, Receipt, SecureView, Step};
use truststram_federate::secure::{Answers, PublicKeys};

use super::{Answer, Desk};
use crate::federation::run::{Run, failed};

/// A client that waits for the next step.
pub(super) struct Waiter {
    task: u64,
    after: Option<Step>,
    tell: oneshot::Sender<Option<SecureRound>>,
}

fn step_of(step: SecureStep) -> Step {
    match step {
        SecureStep::Keys => Step::Keys,
        SecureStep::Shares => Step::Shares,
        SecureStep::Input => Step::Input,
        SecureStep::Unmask => Step::Unmask,
    }
}

/// A round as its client reads it.
fn shown(view: SecureView, schema: &Schema, now_us: i64) -> SecureRound {
    let clients = view.roster.members.iter();
    SecureRound {
        step: match view.step {
            Step::Keys => SecureStep::Keys,
            Step::Shares => SecureStep::Shares,
            Step::Input => SecureStep::Input,
            Step::Unmask => SecureStep::Unmask,
        },
        deadline_ms: u64::try_from((view.deadline_us - now_us) / 1_000).unwrap_or(0),
        round: view.roster.round,
        threshold: view.roster.threshold,
        keys: clients.map(|(client, keys)| (*client, keys.to_text())).collect(),
        shares: view.shares,
        survivors: view
            .survivors
            .map(|list| SecureSurvivors { alive: list.alive, dropped: list.dropped }),
        tensors: schema.tensors().iter().map(|tensor| tensor.name.clone()).collect(),
        range: view.range,
        clip_norm: view.clip_norm,
        clip_bit: view.has_clip_bit.then(|| CLIP_BIT.to_owned()),
    }
}

fn message_of(message: SecureMessage) -> Result<Message, FederateError> {
    Ok(match message {
        SecureMessage::Keys(text) => Message::Keys(PublicKeys::of_text(&text)?),
        SecureMessage::Shares(shares) => Message::Shares(shares),
        SecureMessage::Answers(SecureAnswers { seeds, mask_keys }) => {
            Message::Answers(Answers { seeds, mask_keys })
        }
    })
}

fn view(
    run: &mut Run,
    now_us: i64,
    of: (u32, u64),
    after: Option<Step>,
) -> Answer<Option<SecureRound>> {
    let view = run.rounds.secure_view(now_us, of, after).map_err(|error| failed(&error))?;
    Ok(view.map(|view| shown(view, run.rounds.schema(), now_us)))
}

impl Desk {
    /// What a client is asked for, now or once its round is further than `after`.
    pub fn secure_round(
        &mut self,
        signed: &Signed,
        task: u64,
        after: Option<SecureStep>,
        waits: bool,
    ) -> Answer<oneshot::Receiver<Option<SecureRound>>> {
        let client = self.admit(signed)?;
        let (now_us, after) = (self.now_us(), after.map(step_of));
        let round = view(self.going()?, now_us, (client, task), after)?;
        let (tell, waiting) = oneshot::channel();
        if round.is_some() || !waits {
            // The client may have gone.
            let _ = tell.send(round);
            return Ok(waiting);
        }
        let waiters_max = self.means.limits.waiters_max as usize;
        self.secure_waiters.retain(|_, waiter| !waiter.tell.is_closed());
        if self.secure_waiters.len() >= waiters_max && !self.secure_waiters.contains_key(&client) {
            let detail = "too many clients wait for a step; ask again shortly";
            return Err(FederatedFailure::new(Kind::Overloaded, detail));
        }
        self.secure_waiters.insert(client, Waiter { task, after, tell });
        Ok(waiting)
    }

    /// Tells those whose round is further, or over: they ask again and are told why.
    pub(super) fn wake_secure(&mut self, now_us: i64) {
        let waiting = std::mem::take(&mut self.secure_waiters);
        let Some(run) = self.run.as_mut().filter(|run| run.record.ended.is_none()) else { return };
        for (client, waiter) in waiting {
            match view(run, now_us, (client, waiter.task), waiter.after) {
                Ok(None) => drop(self.secure_waiters.insert(client, waiter)),
                // One that has gone asks again.
                Ok(round) => drop(waiter.tell.send(round)),
                Err(_) => {}
            }
        }
    }

    /// Takes what a client sends for a step.
    pub fn secure_message(
        &mut self,
        signed: &Signed,
        task: u64,
        message: SecureMessage,
    ) -> Answer<UpdateReceipt> {
        let client = self.admit(signed)?;
        let now_us = self.now_us();
        let message = message_of(message).map_err(|error| failed(&error))?;
        let taken = self.going()?.rounds.secure_message(now_us, (client, task), message);
        match taken.map_err(|error| self.told(&error))? {
            Receipt::Accepted => Ok(UpdateReceipt::Accepted),
            Receipt::Again => Ok(UpdateReceipt::Again),
        }
    }
}
