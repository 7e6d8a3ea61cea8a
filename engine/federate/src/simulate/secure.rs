//! Owns the part of virtual clients in rounds of secure aggregation, and what it costs.
//!
//! A client that drops out does so while it trains: its shares are with the others, and its masks
//! are in their updates. Refuses to see what is masked. Bound: the secrets of one round.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::client::{Client, Sent};
use super::memory::{Memory, NoLedger};
use super::run::{Conditions, Learner};
use crate::codec::CLIP_BIT;
use crate::error::FederateError;
use crate::privacy::Chance;
use crate::random::Random;
use crate::round::{Federation, Files, Message, NativePolicy, SecureView, Step, Task};
use crate::secure::{InputBounds, SecureClient};

/// Where the random numbers of the clients' secrets begin.
const SECRETS: u64 = 1 << 32;

/// What secure aggregation has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecureCost {
    /// Bytes of keys, shares and answers as JSON, without the masked updates.
    pub bytes_up: u64,
    /// Bytes of what clients were shown, as JSON.
    pub bytes_down: u64,
    /// Clients whose masks were asked of the others, because they dropped out after sharing.
    pub dropped: u64,
}

/// A client's part of a round.
struct Member {
    own: SecureClient,
    task: Task,
    /// The last step that it was asked for.
    asked: Option<Step>,
    delay_us: i64,
    is_lost: bool,
}

/// What a client does in a step.
pub(super) enum Act {
    /// Sends this.
    Tell(Message),
    /// Sends its update, for which it trains with this view.
    Train(Box<SecureView>),
}

/// The clients of the round that runs.
#[derive(Default)]
pub(super) struct Crowd {
    members: BTreeMap<u64, Member>,
    pub cost: SecureCost,
}

impl Crowd {
    pub fn knows(&self, task: u64) -> bool {
        self.members.contains_key(&task)
    }

    /// Takes in a client with its task.
    pub fn enter(
        &mut self,
        client: &mut Client,
        task: Task,
        conditions: &Conditions,
    ) -> Result<(), FederateError> {
        let seed = Random::new(conditions.seed, SECRETS + task.id).next();
        let own = SecureClient::new(task.client, Chance::Seeded(seed, 0))?;
        let (delay_us, is_lost) = (client.delay_us(conditions), client.drops_out(conditions));
        self.members.insert(task.id, Member { own, task, asked: None, delay_us, is_lost });
        Ok(())
    }

    /// The tasks whose clients are asked for a further step, each with the time until it is there.
    pub fn asked(
        &mut self,
        federation: &Federation<NoLedger, Memory, NativePolicy>,
    ) -> Vec<(i64, Task)> {
        let job = &federation.state().job;
        self.members.retain(|_, member| member.task.round == job.round);
        let Some(round) = &job.secure else { return Vec::new() };
        let is_new = |member: &&mut Member| member.asked < Some(round.step);
        let mut news: Vec<&mut Member> = self.members.values_mut().filter(is_new).collect();
        news.iter_mut().for_each(|member| member.asked = Some(round.step));
        if let Some(survivors) = &round.survivors {
            if !news.is_empty() {
                self.cost.dropped += survivors.dropped.len() as u64;
            }
            news.retain(|member| survivors.alive.contains(&member.task.client));
        }
        let after = |member: &Member| if round.step == Step::Input { member.delay_us } else { 0 };
        let present = news.iter().filter(|member| !member.is_lost || round.step < Step::Input);
        present.map(|member| (after(member), member.task.clone())).collect()
    }

    /// What a client does when it is shown its round; nothing if the round has gone on without it.
    pub fn act(&mut self, task: &Task, view: SecureView) -> Result<Option<Act>, FederateError> {
        let member = self.members.get_mut(&task.id).filter(|m| m.asked == Some(view.step));
        let Some(Member { own, .. }) = member else { return Ok(None) };
        self.cost.bytes_down += length(&shown(&view));
        let message = match view.step {
            Step::Keys => Message::Keys(own.keys()),
            Step::Shares => Message::Shares(own.share(view.roster)?),
            Step::Input => return Ok(Some(Act::Train(Box::new(view)))),
            Step::Unmask => match view.survivors.filter(|list| list.alive.contains(&task.client)) {
                Some(survivors) => Message::Answers(own.reveal(&survivors)?),
                // It has trained for too long.
                None => return Ok(None),
            },
        };
        self.cost.bytes_up += length(&told(&message));
        Ok(Some(Act::Tell(message)))
    }

    /// Trains and writes the masked update.
    pub fn train(
        &mut self,
        client: &mut Client,
        learner: &mut dyn Learner,
        (federation, task): (&Federation<NoLedger, Memory, NativePolicy>, &Task),
        view: &SecureView,
    ) -> Result<Option<Sent>, FederateError> {
        let Some(member) = self.members.get_mut(&task.id) else { return Ok(None) };
        let model = federation.files().model(task.base)?.values;
        let learnt = client.learn(learner, (task, &model))?;
        let SecureView { range, clip_norm, has_clip_bit, .. } = *view;
        let bounds = InputBounds { range, clip_norm, has_clip_bit };
        let head = (federation.schema(), task.base);
        let body = member.own.masked_update(&view.shares, bounds, learnt.delta, head)?;
        // All count the same, and nothing is told of one.
        Ok(Some(Sent { body, examples: 1.0, loss: None }))
    }
}

/// What a client is shown, as `GET /api/v1/fl/tasks/{task}/secure` has it.
fn shown(view: &SecureView) -> Value {
    let keys: BTreeMap<u32, String> =
        view.roster.members.iter().map(|(client, keys)| (*client, keys.to_text())).collect();
    json!({
        "step": view.step, "round": view.roster.round, "threshold": view.roster.threshold,
        "keys": keys, "shares": view.shares, "survivors": view.survivors, "range": view.range,
        "clip_norm": view.clip_norm, "clip_bit": view.has_clip_bit.then_some(CLIP_BIT),
    })
}

/// What a client says, as it is posted there.
fn told(message: &Message) -> Value {
    match message {
        Message::Keys(keys) => json!({ "keys": keys.to_text() }),
        Message::Shares(shares) => json!({ "shares": shares }),
        Message::Answers(answers) => json!({ "answers": answers }),
    }
}

fn length(json: &Value) -> u64 {
    json.to_string().len() as u64
}
