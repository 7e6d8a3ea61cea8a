//! Owns a client's part of a round of secure aggregation, from its keys to what takes masks off.
//!
//! Refuses to send an update that is not masked. Bound: secrets of one round, in memory alone.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde_json::{Value, json};
use truststram_federate::codec::Schema;
use truststram_federate::privacy::Chance;
use truststram_federate::secure::{
    InputBounds, PublicKeys, Roster, SealedShares, SecureClient, Survivors,
};

use super::join::{End, Member, WAIT_S};
use super::network::{Ask, Reply};

/// How long a client rests that cannot go on with a round.
const REST_S: u64 = 5;

/// A round as the server shows it.
#[derive(serde::Deserialize)]
struct Shown {
    step: String,
    round: u64,
    threshold: usize,
    keys: BTreeMap<u32, String>,
    shares: SealedShares,
    survivors: Option<Survivors>,
    range: f32,
    clip_norm: Option<f64>,
    #[serde(default)]
    clip_bit: Option<String>,
}

impl Shown {
    fn roster(&self) -> anyhow::Result<Roster> {
        let keys = |(client, text): (&u32, &String)| Ok((*client, PublicKeys::of_text(text)?));
        let members = self.keys.iter().map(keys).collect::<anyhow::Result<_>>()?;
        Ok(Roster { round: self.round, threshold: self.threshold, members })
    }
}

/// What gives the change of a model, or nothing where training diverges.
type Training<'t, 'a> = dyn FnMut(&mut Member<'a>) -> Result<Option<Vec<f32>>, End> + 't;

impl<'a> Member<'a> {
    /// Lives through a round.
    pub(super) fn work_securely(
        &mut self,
        task: &Value,
        schema: &Schema,
        train: &mut Training<'_, 'a>,
    ) -> Result<(), End> {
        let id = task["task"].as_u64().unwrap_or(0);
        let own = SecureClient::new(self.line.client, Chance::System);
        let mut own = own.map_err(anyhow::Error::from)?;
        let mut after = None;
        while let Some(shown) = self.next_step(id, after.as_deref())? {
            let step = shown.step.clone();
            let message = match step.as_str() {
                "input" => {
                    let Some(delta) = train(self)? else { return Ok(()) };
                    let base = task["base_version"].as_u64().unwrap_or(0);
                    let Shown { range, clip_norm, .. } = shown;
                    let has_clip_bit = shown.clip_bit.is_some();
                    let bounds = InputBounds { range, clip_norm, has_clip_bit };
                    let head = (schema, base);
                    let body = match own.masked_update(&shown.shares, bounds, delta, head) {
                        Ok(body) => body,
                        Err(error) => return self.leave(id, &error.to_string()),
                    };
                    if !self.send(task, body, "examples=1", None)? {
                        return Ok(());
                    }
                    None
                }
                _ => match message(&mut own, shown) {
                    Ok(message) => Some(message),
                    // One that was started anew in the middle of a round has other keys.
                    Err(error) => return self.leave(id, &error.to_string()),
                },
            };
            let goes_on = match message {
                Some(message) => self.tell_step(id, &message)?,
                None => true,
            };
            if !goes_on || step == "unmask" {
                return Ok(());
            }
            after = Some(step);
        }
        Ok(())
    }

    /// Goes on without this round, after a rest: the task stays the client's until it is over.
    fn leave(&mut self, id: u64, reason: &str) -> Result<(), End> {
        self.told("left", json!({ "task": id, "reason": reason }))?;
        Ok(self.line.pause(Some(REST_S))?)
    }

    /// What is asked for next; nothing where the round is over.
    fn next_step(&mut self, id: u64, after: Option<&str>) -> Result<Option<Shown>, End> {
        let after = after.map(|step| format!("&after={step}")).unwrap_or_default();
        loop {
            let path = format!("/api/v1/fl/tasks/{id}/secure?wait={WAIT_S}{after}");
            let reply = self.ask(&Ask { method: "GET", path, ..Ask::default() })?;
            match reply.status {
                200 => {
                    let shown = serde_json::from_slice(&reply.body);
                    return Ok(Some(shown.map_err(|error| anyhow!("a step of a round: {error}"))?));
                }
                204 => {}
                401 | 404 | 410 => return self.told_over(id, &reply).map(|()| None),
                _ => return Err(anyhow!(reply.detail()).into()),
            }
        }
    }

    /// Sends what a step asks for; whether the round goes on for this client.
    fn tell_step(&mut self, id: u64, message: &Value) -> Result<bool, End> {
        let reply = self.ask(&Ask {
            method: "POST",
            path: format!("/api/v1/fl/tasks/{id}/secure"),
            media: "application/json",
            body: message.to_string().into_bytes(),
            ..Ask::default()
        })?;
        match reply.status {
            202 => Ok(true),
            401 | 404 | 410 => self.told_over(id, &reply).map(|()| false),
            409 | 422 => self.leave(id, &reply.detail()).map(|()| false),
            _ => Err(anyhow!(reply.detail()).into()),
        }
    }

    fn told_over(&self, id: u64, reply: &Reply) -> Result<(), End> {
        self.told("left", json!({ "task": id, "reason": reply.detail() }))
    }
}

/// What a client sends in a step besides its input.
fn message(own: &mut SecureClient, shown: Shown) -> anyhow::Result<Value> {
    Ok(match shown.step.as_str() {
        "keys" => json!({ "keys": own.keys().to_text() }),
        "shares" => json!({ "shares": own.share(shown.roster()?)? }),
        "unmask" => json!({ "answers": own.reveal(&shown.survivors.unwrap_or_default())? }),
        other => return Err(anyhow!("the server asks for an unknown step {other}")),
    })
}
