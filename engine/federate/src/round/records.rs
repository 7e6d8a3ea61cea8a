//! Owns the records of a federation, which are all of its state.
//!
//! Refuses to know how they are stored. Bound: a record per client, and per task of the last
//! [`TASK_ROUNDS`] rounds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::privacy::Spent;
use crate::secure::{Answers, SealedShares, Survivors};

/// Rounds after which what became of a task is forgotten.
pub(super) const TASK_ROUNDS: u64 = 16;

/// Where a round stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nobody is asked: clients are missing.
    #[default]
    Waiting,
    /// Updates are collected.
    Collecting {
        /// Until when, microseconds UTC.
        deadline_us: i64,
        /// Updates that complete the round.
        waited_for: u32,
    },
    /// The round is complete: the next model is to be made of the accepted updates.
    Due,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Updates accepted.
    pub accepted: u64,
    /// Updates refused.
    pub refused: u64,
    /// Rounds that ended with the model as it was.
    pub kept: u64,
    /// Bytes of accepted updates.
    pub bytes: u64,
}

/// The federation itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The round that is being collected, from 1.
    pub round: u64,
    /// The present version of the model.
    pub version: u64,
    /// Where the round stands.
    pub phase: Phase,
    /// The number of the next task.
    pub next_task: u64,
    /// Why the last round ended as it did, in one line.
    pub last: String,
    /// What has happened so far.
    pub totals: Totals,
    /// How far a round of secure aggregation is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<SecureRound>,
    /// The length to which updates are shortened for privacy, where it has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
}

/// A step of a round of secure aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Clients send their keys.
    Keys,
    /// They send sealed shares.
    Shares,
    /// They train and send masked updates.
    Input,
    /// They reveal what takes the masks off.
    Unmask,
}

/// How far a round of secure aggregation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecureRound {
    /// The step.
    pub step: Step,
    /// How many are needed to take masks off; 0 before it is known.
    pub threshold: usize,
    /// Whose inputs are in the sum; none before it is fixed.
    pub survivors: Option<Survivors>,
}

/// What a client has sent in a round of secure aggregation. It is removed at the end of the round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecureTask {
    /// Its keys, hexadecimal.
    pub keys: String,
    /// Its sealed shares, by receiver; none before they are there.
    pub sealed: SealedShares,
    /// What it has revealed.
    pub answers: Option<Answers>,
}

/// What a client says it has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Examples.
    pub samples: u64,
    /// Processor cores.
    pub cpu_cores: f32,
    /// Memory in GiB.
    pub memory_gib: f32,
}

impl Default for Resources {
    fn default() -> Self {
        Self { samples: 1, cpu_cores: 1.0, memory_gib: 1.0 }
    }
}

/// One client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// The server's number of it.
    pub id: u32,
    /// The key that its requests are signed with.
    pub public_key: Vec<u8>,
    /// What it says it has.
    pub resources: Resources,
    /// When it was heard of last, microseconds UTC.
    pub seen_us: i64,
    /// The round it last took part in; 0 if none.
    pub last_round: u64,
    /// Its loss then, if it said so.
    pub last_loss: Option<f32>,
    /// Examples a second that it was measured to train.
    pub samples_per_second: Option<f32>,
    /// Bits a second of its uploads, in millions, as measured.
    pub bandwidth_mbps: Option<f32>,
    /// Tasks that it was given.
    pub given: u64,
    /// Tasks that it finished.
    pub finished: u64,
}

/// What a client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Examples per step.
    pub batch_size: u32,
    /// Passes over its examples.
    pub local_epochs: u32,
}

/// What has become of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// The client is at work.
    Open,
    /// Its update is kept and waits for the end of the round.
    Accepted,
    /// Its update is part of this version.
    Merged {
        /// The version.
        version: u64,
    },
    /// Its update was accepted, and left out by the aggregation for this reason.
    LeftOut {
        /// The reason.
        reason: String,
    },
    /// The round ended without it.
    Expired,
}

/// One task of one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its number.
    pub id: u64,
    /// The client.
    pub client: u32,
    /// The round it was given in.
    pub round: u64,
    /// The version that training starts from.
    pub base: u64,
    /// What is to be done.
    pub assignment: Assignment,
    /// When it was given, microseconds UTC.
    pub given_us: i64,
    /// Until when, microseconds UTC.
    pub deadline_us: i64,
    /// What has become of it.
    pub state: TaskState,
    /// The update that was accepted.
    pub update: Option<Update>,
    /// What it has sent besides, in a round of secure aggregation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<SecureTask>,
}

/// What is remembered of an accepted update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// SHA-256 of its body.
    pub sha256: [u8; 32],
    /// Examples that it was trained on.
    pub examples: u64,
    /// Versions between its base and the present one when it was accepted.
    pub staleness: u32,
    /// Its Euclidean length.
    pub l2_norm: f64,
    /// The client's mean loss, if it said so.
    pub train_loss: Option<f32>,
    /// Whether it holds weights, of which the base is to be subtracted.
    pub is_weights: bool,
}

/// One record that changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// The federation.
    Job(Job),
    /// A client.
    Client(Client),
    /// A task.
    Task(Task),
    /// A task that is forgotten.
    ForgetTask(u64),
    /// What has been spent of the clients' privacy.
    Spent(Spent),
}

/// All records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The federation.
    pub job: Job,
    /// Clients by number.
    pub clients: BTreeMap<u32, Client>,
    /// Tasks by number.
    pub tasks: BTreeMap<u64, Task>,
    /// What has been spent of the clients' privacy, in earlier federations of theirs as well.
    pub spent: Spent,
}

impl State {
    /// Takes a change over.
    pub fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Job(job) => self.job = job,
            Entry::Client(client) => drop(self.clients.insert(client.id, client)),
            Entry::Task(task) => drop(self.tasks.insert(task.id, task)),
            Entry::ForgetTask(id) => drop(self.tasks.remove(&id)),
            Entry::Spent(spent) => self.spent = spent,
        }
    }

    /// The tasks whose updates wait for the end of the round, by number.
    pub fn accepted(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(|task| task.state == TaskState::Accepted)
    }

    /// The task that a client is at work on.
    pub fn open_task(&self, client: u32) -> Option<&Task> {
        let mut tasks = self.tasks.values();
        tasks.find(|task| task.client == client && task.state == TaskState::Open)
    }
}
