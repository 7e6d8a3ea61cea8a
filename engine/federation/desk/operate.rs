//! Owns what operators do: tokens, the start of a federation and its end.
//!
//! Refuses to run two at a time. Bound: one transaction for each.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use truststram_api::ports::FederatedFailure;
use truststram_base::{Kind, ModelEntry, ModelVersion};
use truststram_federate::FederateError;
use truststram_federate::identity::{hexadecimal, random_bytes};
use truststram_federate::round::{Client, Entry, SPENT, of_records, to_record};
use truststram_train::Trainable;

use super::{Answer, Desk};
use crate::federation::arriving::disk;
use crate::federation::ledger::{CURRENT, Changes, RUN, TOKENS, failed as store_failed};
use crate::federation::register;
use crate::federation::run::{self, failed};
use crate::federation::spec::{Record, Spec};

/// Files that the process needs besides those of updates.
const OTHER_FILES: u64 = 512;

/// A token that lets one client in.
#[derive(Serialize, Deserialize)]
pub(super) struct Token {
    pub until_us: i64,
}

/// The name of the record of a token.
pub(super) fn token_name(token: &str) -> String {
    format!("{TOKENS}{}", hexadecimal(&Sha256::digest(token)))
}

impl Desk {
    /// Makes tokens.
    pub fn tokens(&mut self, count: usize, valid_s: u64) -> Answer<Vec<String>> {
        let until_us = self.now_us().saturating_add(valid_s.saturating_mul(1_000_000) as i64);
        let body = serde_json::to_vec(&Token { until_us }).unwrap_or_default();
        let mut tokens = Vec::with_capacity(count);
        for _ in 0..count {
            tokens.push(hexadecimal(&random_bytes::<16>().map_err(|error| failed(&error))?));
        }
        let record = |token: &String| (token_name(token), Some(body.clone()));
        let mut changes: Changes = tokens.iter().map(record).collect();
        changes.extend(self.expired_tokens()?.into_iter().map(|name| (name, None)));
        let kept = self.means.store.change_federation(&changes);
        kept.map_err(|error| failed(&store_failed(&error)))?;
        Ok(tokens)
    }

    /// The names of the records of tokens that let nobody in any more.
    fn expired_tokens(&self) -> Answer<Vec<String>> {
        let records = self.means.store.federation_records(TOKENS);
        let records = records.map_err(|error| failed(&store_failed(&error)))?;
        let now_us = self.now_us();
        let is_over = |body: &[u8]| {
            serde_json::from_slice::<Token>(body).is_ok_and(|token| token.until_us <= now_us)
        };
        let over = records.into_iter().filter(|(_, body)| is_over(body));
        Ok(over.map(|(name, _)| name).collect())
    }

    /// Starts a federation; the clients of the one before stay enrolled.
    pub fn start(&mut self, spec: Value) -> Answer<Value> {
        let invalid = |detail: String| FederatedFailure::new(Kind::Invalid, detail);
        if self.run.as_ref().is_some_and(|run| run.record.ended.is_none()) {
            let detail = "a federation runs; end it by `truststram federate stop` first";
            return Err(FederatedFailure::new(Kind::Conflict, detail));
        }
        let (spec, _) = Spec::read(spec).map_err(invalid)?;
        let has_plugins =
            self.means.plugins.aggregator.is_some() || self.means.plugins.selector.is_some();
        if let Some(reason) = spec.without_plugins().filter(|_| has_plugins) {
            return Err(invalid(reason.to_owned()));
        }
        let wanted = u64::from(spec.rounds.clients_max);
        if wanted + OTHER_FILES > self.means.open_files {
            let most = self.means.open_files.saturating_sub(OTHER_FILES);
            let detail = format!(
                "rounds: `clients_max` must be at most {most}: each update of a round is an open \
                 file, and the process may open {}; see `ulimit -n`",
                self.means.open_files
            );
            return Err(invalid(detail));
        }
        let entry = self.base(&spec)?;
        let path = register::file_of(&self.means.data_dir, &entry);
        let bytes = std::fs::read(&path).map_err(|error| disk(&error))?;
        let model = Trainable::parse(&bytes).map_err(|error| {
            let (id, version) = (&entry.id, entry.version);
            invalid(format!("`{id}` version {version} cannot be trained on: {error}"))
        })?;
        let record = Record { run: self.now_us(), spec, began_with: entry.version.0, ended: None };
        let folder = run::folder(&self.means.data_dir, record.run);
        run::prepare(&folder, &model, &bytes).map_err(|error| failed(&error))?;
        self.begin(&record).map_err(|error| failed(&error))?;
        self.run = None;
        self.again_us = Some(i64::MIN);
        self.turn();
        self.sweep(record.run);
        Ok(self.status())
    }

    /// The registered version that a federation begins with.
    fn base(&self, spec: &Spec) -> Answer<ModelEntry> {
        let id = spec.id().map_err(|why| FederatedFailure::new(Kind::Invalid, why))?;
        let entries = self.means.store.model_versions(&id);
        let entries = entries.map_err(|error| failed(&store_failed(&error)))?;
        let found = match spec.version {
            Some(version) => {
                entries.into_iter().find(|entry| entry.version == ModelVersion(version))
            }
            None => entries.into_iter().find(|entry| entry.active),
        };
        found.ok_or_else(|| {
            let detail = match spec.version {
                Some(version) => format!("model `{id}` has no version {version}"),
                None => format!("model `{id}` has no active version"),
            };
            FederatedFailure::new(Kind::NotFound, detail)
        })
    }

    /// Writes the records of a federation that begins, in the place of those of the one before.
    fn begin(&self, record: &Record) -> Result<(), FederateError> {
        let store = &self.means.store;
        let before = store.federation_records(CURRENT).map_err(|error| store_failed(&error))?;
        let mut changes: Changes = Vec::new();
        for (name, body) in &before {
            // What the clients have spent of their privacy stays spent.
            if &name[CURRENT.len()..] == SPENT {
                continue;
            }
            if !name[CURRENT.len()..].starts_with("client/") {
                changes.push((name.clone(), None));
                continue;
            }
            let own = (&name[CURRENT.len()..], body.as_slice());
            for client in of_records([own])?.clients.into_values() {
                let client = Client { last_round: 0, last_loss: None, ..client };
                let (name, body) = to_record(&Entry::Client(client))?;
                changes.push((format!("{CURRENT}{name}"), body));
            }
        }
        changes.push((RUN.to_owned(), Some(encoded(record)?)));
        store.change_federation(&changes).map_err(|error| store_failed(&error))
    }

    /// Removes the files of other federations.
    fn sweep(&self, run: i64) {
        let folder = self.means.data_dir.join("fl");
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_str() != Some(&run.to_string()) {
                // What stays takes room and nothing else.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Ends the federation for good.
    pub(super) fn end(&mut self, reason: &str) -> Answer<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        let record = Record { ended: Some(reason.to_owned()), ..run.record.clone() };
        let changes = [(RUN.to_owned(), Some(encoded(&record).map_err(|error| failed(&error))?))];
        let kept = self.means.store.change_federation(&changes);
        kept.map_err(|error| failed(&store_failed(&error)))?;
        run.record = record;
        self.means.notices.tell("ended", &json!({ "reason": reason }));
        Ok(())
    }

    /// Ends it because an operator says so.
    pub fn stop(&mut self) -> Answer<Value> {
        self.going()?;
        self.end("an operator has stopped it")?;
        Ok(self.status())
    }
}

fn encoded(record: &Record) -> Result<Vec<u8>, FederateError> {
    serde_json::to_vec(record).map_err(|error| FederateError::Port {
        message: format!("the federation's record {RUN}: {error}"),
        kind: Kind::Internal,
    })
}
