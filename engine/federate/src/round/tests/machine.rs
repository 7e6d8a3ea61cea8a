//! A federation with its clients, and the judge of what it must never do.
//!
//! The update of a task is 1 at the task's own place and 0 elsewhere, so that a model tells which
//! updates are in it.

use std::collections::{BTreeMap, BTreeSet};

use truststram_decide::{aggregation, selection};

use super::disk::SharedDisk;
use crate::codec::{Encoding, Head, Kind, Schema, SchemaTensor, encode};
use crate::error::FederateError;
use crate::privacy::Chance;
use crate::random::Random;
use crate::round::{
    Claim, Federation, Files, Mode, Model, NativePolicy, Receipt, Resources, RoundSettings, State,
    Task, TaskState,
};

pub const PARAMETERS: usize = 1_500;

pub fn schema() -> Schema {
    Schema::new(vec![SchemaTensor { name: "w".into(), shape: vec![PARAMETERS] }]).unwrap()
}

/// Where the update of a task shows.
pub fn place(task: u64) -> usize {
    task as usize % PARAMETERS
}

fn written(kind: Kind, base: u64, values: &[f32]) -> Vec<u8> {
    encode(values, &schema(), Head { kind, base, block: 256 }, Encoding::DENSE).unwrap()
}

/// A body; one that no honest client can write has its number put in afterwards.
pub fn body(task: u64, base: u64, value: f32) -> Vec<u8> {
    let mut values = vec![0.0; PARAMETERS];
    values[place(task)] = 1.0;
    let mut bytes = written(Kind::Delta, base, &values);
    let at = bytes.len() - 4 * (PARAMETERS - place(task));
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    bytes
}

pub fn weights(task: u64, base: u64, model: &[f32]) -> Vec<u8> {
    let mut values = model.to_vec();
    values[place(task)] += 1.0;
    written(Kind::Weights, base, &values)
}

pub fn policy(aggregation: &str, ratio: f64) -> NativePolicy {
    NativePolicy {
        aggregation: aggregation::Settings::parse(aggregation).unwrap(),
        selection: selection::Settings { ratio, ..Default::default() },
    }
}

type Running = Federation<SharedDisk, SharedDisk, NativePolicy>;

pub struct Machine {
    settings: RoundSettings,
    policy: NativePolicy,
    pub disk: SharedDisk,
    pub running: Running,
    now_us: i64,
    /// Tasks whose updates the server has acknowledged.
    acknowledged: BTreeSet<u64>,
    /// In which version each update was seen.
    merged: BTreeMap<u64, u64>,
    models: BTreeMap<u64, Vec<f32>>,
}

impl Machine {
    pub fn new(settings: RoundSettings, policy: NativePolicy, disk: SharedDisk) -> Self {
        let mut running = loop {
            disk.0.borrow_mut().is_down = false;
            match Federation::open(settings, schema(), disk.clone(), disk.clone(), policy) {
                Ok(running) if !disk.0.borrow().is_down => break running,
                _ => {}
            }
        };
        running.set_chance(Chance::Seeded(3, 0));
        Self {
            settings,
            policy,
            disk,
            running,
            now_us: 1_000_000_000,
            acknowledged: BTreeSet::new(),
            merged: BTreeMap::new(),
            models: BTreeMap::new(),
        }
    }

    pub fn state(&self) -> &State {
        self.running.state()
    }

    pub fn model(&self) -> Model {
        self.running.files().model(self.state().job.version).unwrap()
    }

    pub fn open_tasks(&self) -> Vec<Task> {
        let tasks = self.state().tasks.values();
        tasks.filter(|task| task.state == TaskState::Open).cloned().collect()
    }

    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now_us += seconds * super::SECOND;
    }

    pub fn all_are_heard(&mut self) {
        let ids: Vec<u32> = self.state().clients.keys().copied().collect();
        ids.iter().for_each(|id| self.running.heard(self.now_us, *id).unwrap());
    }

    pub fn enrol(&mut self, count: u32) -> Result<(), FederateError> {
        let resources = Resources { samples: 100, ..Resources::default() };
        for client in 1..=count {
            let id = self.running.enrol(self.now_us, vec![client as u8; 32], resources)?;
            assert_eq!(id, client);
        }
        Ok(())
    }

    pub fn task_of(&mut self, client: u32) -> Result<Option<Task>, FederateError> {
        self.running.task_of(self.now_us, client)
    }

    pub fn advance(&mut self) -> Result<(), FederateError> {
        self.running.advance(self.now_us).map(|_| ())
    }

    pub fn upload(&mut self, client: u32, task: u64) -> Result<Receipt, FederateError> {
        let base = self.state().tasks.get(&task).map_or(0, |task| task.base);
        self.send(client, task, body(task, base, 1.0), 100.0)
    }

    pub fn send(
        &mut self,
        client: u32,
        task: u64,
        body: Vec<u8>,
        examples: f64,
    ) -> Result<Receipt, FederateError> {
        let mut sha256 = [0; 32];
        // Any number of the body's own will do.
        let sum = body.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
        sha256[..8].copy_from_slice(&sum.to_le_bytes());
        let claim = Claim { sha256, examples, train_loss: None, upload_s: 0.5 };
        let receipt = self.running.upload(self.now_us, (client, task), claim, body)?;
        self.acknowledged.insert(task);
        Ok(receipt)
    }

    /// The process dies and starts anew, as often as the disk fails.
    pub fn restart(&mut self) {
        let fresh = Self::new(self.settings, self.policy, self.disk.clone());
        self.running = fresh.running;
    }

    /// The same with other settings.
    pub fn restart_with(&mut self, settings: RoundSettings) {
        self.settings = settings;
        self.restart();
    }

    /// What must hold at any moment.
    pub fn check(&mut self) {
        let state = self.running.state().clone();
        let model = self.model().values;
        assert_eq!(model.len(), PARAMETERS, "half a model was published");
        for task in state.tasks.values() {
            if let TaskState::Merged { version } = task.state {
                let before = self.merged.insert(task.id, version);
                assert!(before.is_none_or(|before| before == version), "{} counts twice", task.id);
            }
        }
        for id in &self.acknowledged {
            match state.tasks.get(id).map(|task| &task.state) {
                Some(TaskState::Accepted) => {
                    self.running.files().update(*id, &schema()).unwrap();
                }
                Some(TaskState::Open | TaskState::Expired) => panic!("update {id} is lost"),
                None => assert!(self.merged.contains_key(id), "update {id} is lost"),
                Some(_) => {}
            }
        }
        let version = state.job.version;
        let newest = self.models.last_key_value().map_or(0, |(version, _)| *version);
        assert!(version >= newest && version <= newest + 1, "{newest} to {version}");
        if version == newest + 1 {
            let zeros = vec![0.0; PARAMETERS];
            let before = self.models.get(&newest).unwrap_or(&zeros);
            let changed = (0..PARAMETERS).filter(|at| model[*at] != before[*at]);
            let merged = self.merged.iter().filter(|(_, merged)| **merged == version);
            let mut places: Vec<usize> = merged.map(|(task, _)| place(*task)).collect();
            places.sort_unstable();
            assert_eq!(changed.collect::<Vec<_>>(), places, "version {version}");
        }
        self.models.insert(version, model);
    }
}

/// A federation's life under a seed; returns how many steps its disk has done and
/// which version it has come to.
pub fn life(mode: Mode, seed: u64, disk: SharedDisk) -> (u64, u64) {
    let aggregation = match mode {
        Mode::Sync => r#"{"policy": "fedavg"}"#,
        Mode::Buffered => r#"{"policy": "fedbuff", "buffer": 3}"#,
    };
    let settings = RoundSettings { mode, clients_min: 3, deadline_s: 60, ..Default::default() };
    let mut machine = Machine::new(settings, policy(aggregation, 0.8), disk.clone());
    let mut seeded = Random::new(seed, 0);
    for _ in 0..120 {
        let client = 1 + seeded.below(6) as u32;
        let outcome = match seeded.below(12) {
            0 => machine.enrol(6),
            1 => {
                machine.pass(1 + seeded.below(40) as i64);
                Ok(())
            }
            2..=4 => machine.advance(),
            5..=6 => machine.task_of(client).map(|_| ()),
            // A client that was not told of its success sends the same again.
            _ => match machine.state().tasks.values().rev().find(|task| task.client == client) {
                Some(task) => {
                    let task = task.id;
                    machine.upload(client, task).map(|_| ())
                }
                None => Ok(()),
            },
        };
        let is_down = disk.0.borrow().is_down;
        match outcome {
            Err(FederateError::Port { .. }) => machine.restart(),
            _ if is_down => machine.restart(),
            _ => {}
        }
        machine.check();
    }
    (disk.steps(), machine.state().job.version)
}
