//! Owns what is asked while an update arrives, whole or in parts.
//!
//! Refuses to read it. Bound: as the rounds.

use std::path::PathBuf;

use serde_json::json;
use truststram_api::ports::{FederatedFailure, Signed, UpdateClaim, UpdateReceipt};
use truststram_base::Kind;
use truststram_federate::codec::body_bytes_max;
use truststram_federate::identity::{hexadecimal, random_bytes};
use truststram_federate::round::Receipt;

use super::{Answer, Desk};
use crate::federation::arriving::Arrived;
use crate::federation::parts::{Gathered, Turn};
use crate::federation::run::failed;

/// An update that may arrive.
pub enum Awaited {
    /// The same was accepted before: nothing needs to be sent.
    Again,
    /// Into this file, of at most so many bytes.
    Into(PathBuf, u64),
}

impl Desk {
    /// Where an update of this body is to arrive.
    pub fn await_update(&mut self, signed: &Signed, task: u64) -> Answer<Awaited> {
        let client = self.admit(signed)?;
        self.expect(client, task, &signed.body_sha256)
    }

    fn expect(&mut self, client: u32, task: u64, sha256: &[u8; 32]) -> Answer<Awaited> {
        let (now_us, refusals_max) = (self.now_us(), self.means.limits.refusals_max);
        let run = self.going()?;
        if !run.is_patient(client, refusals_max) {
            let detail = "too many updates of this client were refused in this round";
            let failure = FederatedFailure::new(Kind::Overloaded, detail);
            return Err(FederatedFailure { is_too_many: true, ..failure });
        }
        let expected = run.rounds.expects(now_us, (client, task), sha256);
        match expected.map_err(|error| failed(&error))? {
            Some(Receipt::Accepted | Receipt::Again) => Ok(Awaited::Again),
            None => {
                let name = hexadecimal(&random_bytes::<8>().map_err(|error| failed(&error))?);
                let bytes_max = body_bytes_max(run.rounds.schema_of_updates());
                Ok(Awaited::Into(run.arriving(&name), bytes_max))
            }
        }
    }

    /// Takes a body that has arrived.
    pub fn take(
        &mut self,
        client: u32,
        claim: UpdateClaim,
        arrived: Arrived,
        upload_s: f64,
    ) -> Answer<UpdateReceipt> {
        let now_us = self.now_us();
        let Self { run, means, .. } = self;
        let Some(run) = run.as_mut().filter(|run| run.record.ended.is_none()) else {
            return self.going().map(|_| UpdateReceipt::Again);
        };
        match run.take(now_us, client, claim, arrived, upload_s) {
            Ok(receipt) => {
                if receipt == UpdateReceipt::Accepted {
                    let bytes = run.rounds.state().job.totals.bytes;
                    let data = match run.rounds.privacy() {
                        Some(_) => json!({ "bytes_so_far": bytes }),
                        None => json!({
                            "client": client, "task": claim.task, "examples": claim.examples,
                            "loss": claim.train_loss, "bytes_so_far": bytes,
                        }),
                    };
                    means.notices.tell("update", &data);
                }
                Ok(receipt)
            }
            Err(error) => {
                run.refuse(means, (client, claim.task), &failed(&error));
                Err(self.told(&error))
            }
        }
    }

    /// Notes a body that was refused while it arrived.
    pub fn refused(&mut self, client: u32, task: u64, failure: &FederatedFailure) {
        let Self { run, means, .. } = self;
        if let Some(run) = run
            && matches!(failure.kind, Kind::Invalid | Kind::TooLarge)
        {
            run.refused += 1;
            run.refuse(means, (client, task), failure);
        }
    }

    /// Begins an upload in parts; how much of it is there.
    pub fn begin_parts(
        &mut self,
        signed: &Signed,
        task: u64,
        bytes: u64,
        sha256: [u8; 32],
    ) -> Answer<u64> {
        let client = self.admit(signed)?;
        match self.expect(client, task, &sha256)? {
            Awaited::Again => Ok(bytes),
            Awaited::Into(_, most) if bytes > most => {
                let detail = format!("an update of this model has at most {most} bytes");
                Err(FederatedFailure::new(Kind::TooLarge, detail))
            }
            Awaited::Into(..) => self.going()?.parts.begin((client, task), bytes, sha256),
        }
    }

    /// How much of an upload is there.
    pub fn offset(&mut self, signed: &Signed, task: u64) -> Answer<u64> {
        let client = self.admit(signed)?;
        self.going()?.parts.offset(client, task)
    }

    /// The right to add to an upload.
    pub fn part_turn(&mut self, signed: &Signed, task: u64, offset: u64) -> Answer<Turn> {
        let client = self.admit(signed)?;
        self.going()?.parts.turn(client, task, offset)
    }

    /// Notes how much of an upload is there.
    pub fn part_added(&mut self, task: u64, offset: u64) {
        if let Some(run) = &mut self.run {
            run.parts.added(task, offset);
        }
    }

    /// An upload that is all there; none where the same update was accepted before.
    pub fn gathered(&mut self, signed: &Signed, task: u64) -> Answer<Option<Gathered>> {
        let client = self.admit(signed)?;
        let now_us = self.now_us();
        let run = self.going()?;
        let state = run.rounds.state();
        let own = state.tasks.get(&task).filter(|found| found.client == client);
        if own.is_some_and(|own| own.update.is_some()) && run.parts.offset(client, task).is_err() {
            // The answer to the first commit was lost.
            return Ok(None);
        }
        let gathered = run.parts.take(client, task)?;
        match run.rounds.expects(now_us, (client, task), &gathered.sha256) {
            Ok(None) => Ok(Some(gathered)),
            Ok(Some(_)) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }
}
