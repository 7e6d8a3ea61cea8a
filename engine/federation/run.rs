//! Owns a federation that runs: its rounds, the models that clients fetch, what is refused.
//!
//! Refuses to know who a request is from. Bound: as the rounds; some numbers per client.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::json;
use truststram_api::ports::{FederatedFailure, FederatedTask, UpdateClaim, UpdateReceipt};
use truststram_base::Kind;
use truststram_federate::FederateError;
use truststram_federate::codec::body_bytes_max;
use truststram_federate::round::{
    Claim, Federation, Files, Folder, Model, Phase, Receipt, Task, TaskState,
};
use truststram_train::Trainable;

use super::arriving::Arrived;
use super::desk::Means;
use super::ledger::{Changes, StoreLedger};
use super::models::{Served, schema_of, unfit};
use super::parts::Parts;
use super::policy::{Plugins, RoundPolicy};
use super::register::{self, New};
use super::spec::Record;

type Rounds = Federation<StoreLedger, Folder, RoundPolicy>;

/// What was told last.
#[derive(Clone, Copy, Default, PartialEq)]
struct Told {
    version: u64,
    kept: u64,
    /// The round of which it was told that it collects.
    round: u64,
}

/// See the module.
pub(super) struct Run {
    pub record: Record,
    pub rounds: Rounds,
    pub parts: Parts,
    pub served: Served,
    /// Goes into the next transaction.
    pub with: Rc<RefCell<Changes>>,
    /// When something is due, microseconds UTC.
    pub next_us: Option<i64>,
    /// The newest version that is registered, and its number there.
    pub registered: (u64, u32),
    /// The mean loss of the updates of the newest version.
    pub loss: Option<f64>,
    /// Bodies that were refused before the rounds saw them.
    pub refused: u64,
    folder: PathBuf,
    refusals: BTreeMap<u32, (u64, u32)>,
    told: Told,
}

/// The folder of a federation.
pub(super) fn folder(data_dir: &Path, run: i64) -> PathBuf {
    data_dir.join("fl").join(run.to_string())
}

/// Puts the first model into the folder of a federation that begins.
pub(super) fn prepare(folder: &Path, model: &Trainable, bytes: &[u8]) -> Result<(), FederateError> {
    let mut files = Folder::open(folder)?;
    files.put_model(0, &Model { values: model.weights(), ..Model::default() })?;
    Ok(truststram_machine::replace_file(&folder.join("base.safetensors"), bytes)?)
}

/// What a failure of the rounds means to a client.
pub(super) fn failed(error: &FederateError) -> FederatedFailure {
    FederatedFailure::new(error.kind(), error.to_string())
}

impl Run {
    /// Takes up the federation of these records.
    pub fn open(means: &Means, record: Record) -> Result<Self, FederateError> {
        let port = |message: String| FederateError::Port { message, kind: Kind::Corrupt };
        let policy = record.spec.policy().map_err(port)?;
        let plugins = match record.spec.without_plugins() {
            // One that has come into the configuration since is not asked either.
            Some(_) => Plugins::default(),
            None => means.plugins.clone(),
        };
        let policy = RoundPolicy::new(policy, &plugins);
        let id = record.spec.id().map_err(port)?;
        let folder = folder(&means.data_dir, record.run);
        let base = Trainable::parse(&std::fs::read(folder.join("base.safetensors"))?);
        let base = base.map_err(|error| unfit(&error))?;
        let schema = schema_of(&base)?;
        let with = Rc::new(RefCell::new(Vec::new()));
        let ledger = StoreLedger { store: means.store.clone(), with: with.clone() };
        let settings = record.spec.rounds;
        let mut rounds =
            Federation::open(settings, schema, ledger, Folder::open(&folder)?, policy)?;
        rounds.set_versions_max(record.spec.versions);
        let mut served = Served::open(folder.join("served"), base)?;
        let newest = rounds.state().job.version;
        for version in newest.saturating_sub(settings.staleness_max.into())..=newest {
            match rounds.files().model(version) {
                Ok(model) => drop(served.add(version, &model.values)?),
                // An old one is gone; the newest must be there.
                Err(error) if version == newest => return Err(error),
                Err(_) => {}
            }
        }
        let registered = register::newest(&means.store, &id, record.run);
        let mut parts = Parts::open(folder.join("partial"))?;
        parts.keep(|task| is_open(&rounds, task));
        let job = &rounds.state().job;
        let told = Told { version: job.version, kept: job.totals.kept, round: 0 };
        Ok(Self {
            registered: registered.unwrap_or((0, record.began_with)),
            record,
            parts,
            served,
            with,
            next_us: Some(i64::MIN),
            loss: None,
            refused: 0,
            folder,
            refusals: BTreeMap::new(),
            told,
            rounds,
        })
    }

    /// Does what is due.
    pub fn advance(&mut self, means: &Means, now_us: i64) -> Result<(), FederateError> {
        // A round that is complete is published by the first call.
        for _ in 0..4 {
            self.next_us = self.rounds.advance(now_us)?;
            if self.next_us.is_none_or(|next| next > now_us) {
                break;
            }
        }
        let job = self.rounds.state().job.clone();
        if self.told.kept != job.totals.kept {
            self.told.kept = job.totals.kept;
            let reason = job.last.as_str();
            means.notices.tell("kept", &json!({ "version": job.version, "reason": reason }));
        }
        if self.told.version != job.version {
            self.publish(means, job.version, &job.last)?;
            self.told.version = job.version;
        }
        self.register(means)?;
        if let Phase::Collecting { deadline_us, waited_for } = job.phase
            && self.told.round != job.round
        {
            self.told.round = job.round;
            let asked = self.rounds.state().tasks.values();
            let asked = asked.filter(|task| task.state == TaskState::Open).count();
            means.notices.tell(
                "round",
                &json!({
                    "round": job.round, "version": job.version, "asked": asked,
                    "waited_for": waited_for, "deadline_us": deadline_us,
                }),
            );
        }
        Ok(())
    }

    /// Makes a new version one that can be fetched.
    fn publish(&mut self, means: &Means, version: u64, last: &str) -> Result<(), FederateError> {
        let model = self.rounds.files().model(version)?;
        self.served.add(version, &model.values)?;
        let oldest = version.saturating_sub(self.record.spec.rounds.staleness_max.into());
        self.served.keep(&(oldest..=version));
        self.parts.keep(|task| is_open(&self.rounds, task));
        let merged: Vec<Task> = self.merged(version).into_iter().cloned().collect();
        let examples = |task: &Task| {
            let update = task.update.as_ref()?;
            Some((update.examples as f64, f64::from(update.train_loss?)))
        };
        let losses: Vec<(f64, f64)> = merged.iter().filter_map(examples).collect();
        let weight: f64 = losses.iter().map(|(examples, _)| examples).sum();
        let loss = losses.iter().map(|(examples, loss)| examples * loss).sum::<f64>() / weight;
        // What clients have lost is their own where privacy is kept.
        let privacy = self.rounds.privacy();
        self.loss = Some(loss).filter(|loss| loss.is_finite() && privacy.is_none());
        let data = json!({
            "version": version, "updates": merged.len(), "loss": self.loss, "reason": last,
            "epsilon": privacy.map(|privacy| privacy.epsilon),
        });
        means.notices.tell("version", &data);
        Ok(())
    }

    fn merged(&self, version: u64) -> Vec<&Task> {
        let tasks = self.rounds.state().tasks.values();
        tasks.filter(|task| task.state == TaskState::Merged { version }).collect()
    }

    /// Registers what is not registered yet, as far as its numbers are there.
    fn register(&mut self, means: &Means) -> Result<(), FederateError> {
        let job = self.rounds.state().job.clone();
        while self.registered.0 < job.version {
            let version = self.registered.0 + 1;
            let Ok(model) = self.rounds.files().model(version) else {
                tracing::warn!(version, "a version of the federation was never registered");
                self.registered.0 = version;
                continue;
            };
            let spec = &self.record.spec;
            let id = spec
                .id()
                .map_err(|message| FederateError::Port { message, kind: Kind::Corrupt })?;
            let new = New {
                name: id.to_string(),
                id,
                run: self.record.run,
                version,
                round: job.round.saturating_sub(1),
                updates: self.merged(version).len() as u64,
                activate: spec.activate,
                keep: spec.keep_versions as usize,
                bytes: self.served.add(version, &model.values)?,
            };
            match register::register(&means.versions, &means.models, new) {
                Ok(number) => {
                    self.registered = (version, number);
                    let data = json!({ "version": version, "registered": number });
                    means.notices.tell("registered", &data);
                }
                Err(failure) if failure.kind.is_retryable() => {
                    tracing::warn!(version, failure.detail, "a version waits to be registered");
                    self.next_us = Some(
                        self.next_us.unwrap_or(i64::MAX).min(means.clock.utc_us() + 1_000_000),
                    );
                    return Ok(());
                }
                Err(failure) => {
                    tracing::error!(version, failure.detail, "a version cannot be registered");
                    self.registered.0 = version;
                }
            }
        }
        Ok(())
    }

    /// The task that a client is to work on now.
    pub fn task_of(
        &mut self,
        now_us: i64,
        client: u32,
    ) -> Result<Option<FederatedTask>, FederateError> {
        let Some(task) = self.rounds.task_of(now_us, client)? else { return Ok(None) };
        // One whose model is gone is given up at its deadline.
        Ok(self.shown(&task, now_us))
    }

    /// A task as its client reads it.
    fn shown(&self, task: &Task, now_us: i64) -> Option<FederatedTask> {
        let facts = self.served.facts(task.base)?;
        let (spec, schema) = (&self.record.spec, self.rounds.schema().tensors());
        Some(FederatedTask {
            task: task.id,
            round: task.round,
            model: spec.model.clone(),
            base_version: task.base,
            sha256: facts.sha256.clone(),
            bytes: facts.bytes,
            deadline_us: task.deadline_us,
            deadline_ms: u64::try_from((task.deadline_us - now_us) / 1_000).unwrap_or(0),
            batch_size: task.assignment.batch_size,
            local_epochs: task.assignment.local_epochs,
            learning_rate: spec.learning_rate,
            encodings: match spec.rounds.secure {
                Some(_) => vec!["masked".to_owned()],
                None => spec.encodings.clone(),
            },
            tensors: schema.iter().map(|tensor| tensor.name.clone()).collect(),
            update_bytes_max: body_bytes_max(self.rounds.schema_of_updates()),
            secure: spec.rounds.secure.is_some(),
        })
    }

    /// The tasks of clients that are at work.
    pub fn open_tasks(&self, now_us: i64) -> BTreeMap<u32, FederatedTask> {
        let tasks = self.rounds.state().tasks.values();
        let open = tasks.filter(|task| task.state == TaskState::Open);
        open.filter_map(|task| Some((task.client, self.shown(task, now_us)?))).collect()
    }

    /// Where a body may arrive.
    pub fn arriving(&self, name: &str) -> PathBuf {
        self.folder.join("arriving").join(name)
    }

    /// Whether a client has been refused too often in this round.
    pub fn is_patient(&self, client: u32, refusals_max: u32) -> bool {
        let round = self.rounds.state().job.round;
        self.refusals.get(&client).is_none_or(|(of, count)| *of != round || *count < refusals_max)
    }

    /// Notes and tells that a body was refused.
    pub fn refuse(&mut self, means: &Means, of: (u32, u64), failure: &FederatedFailure) {
        let round = self.rounds.state().job.round;
        if matches!(failure.kind, Kind::Invalid | Kind::TooLarge) {
            let entry = self.refusals.entry(of.0).or_insert((round, 0));
            *entry = if entry.0 == round { (round, entry.1 + 1) } else { (round, 1) };
        }
        // Who was drawn is nobody's business where privacy is kept.
        let data = match self.rounds.privacy() {
            Some(_) => json!({ "reason": "of a client that is not named" }),
            None => json!({ "client": of.0, "task": of.1, "reason": failure.detail }),
        };
        means.notices.tell("refused", &data);
    }

    /// Takes a body as the update of a task.
    pub fn take(
        &mut self,
        now_us: i64,
        client: u32,
        claim: UpdateClaim,
        arrived: Arrived,
        upload_s: f64,
    ) -> Result<UpdateReceipt, FederateError> {
        let claimed = Claim {
            sha256: arrived.sha256,
            examples: claim.examples,
            train_loss: claim.train_loss,
            upload_s,
        };
        let body = arrived.path.path().to_owned();
        let receipt = self.rounds.upload(now_us, (client, claim.task), claimed, body)?;
        Ok(match receipt {
            Receipt::Accepted => UpdateReceipt::Accepted,
            Receipt::Again => UpdateReceipt::Again,
        })
    }
}

fn is_open(rounds: &Rounds, task: u64) -> bool {
    let found = rounds.state().tasks.get(&task);
    found.is_some_and(|task| task.state == TaskState::Open)
}
