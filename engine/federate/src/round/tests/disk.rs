//! A disk in memory that outlives a federation and crashes when it is told to: before an operation,
//! in the middle of it, or after it, before anybody is told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::RangeInclusive;
use std::rc::Rc;

use truststram_base::Kind;

use crate::codec::{Received, Schema};
use crate::error::FederateError;
use crate::random::Random;
use crate::round::{Entry, Files, Ledger, Model, State};

#[derive(Debug)]
pub struct Disk {
    state: State,
    bodies: BTreeMap<u64, Vec<u8>>,
    models: BTreeMap<u64, Model>,
    steps: u64,
    crash: Option<(u64, u64)>,
    dice: Option<Random>,
    pub is_down: bool,
    /// Bodies are opened, and then cannot be read to their end.
    pub reads_fail: bool,
}

/// The disk, as ledger and as files.
#[derive(Clone, Debug)]
pub struct SharedDisk(pub Rc<RefCell<Disk>>);

impl Default for SharedDisk {
    fn default() -> Self {
        let first = Model { values: vec![0.0; super::machine::PARAMETERS], ..Model::default() };
        Self(Rc::new(RefCell::new(Disk {
            state: State::default(),
            bodies: BTreeMap::new(),
            models: BTreeMap::from([(0, first)]),
            steps: 0,
            crash: None,
            dice: None,
            is_down: false,
            reads_fail: false,
        })))
    }
}

impl Disk {
    pub fn body_count(&self) -> usize {
        self.bodies.len()
    }

    pub fn lose_body(&mut self, task: u64) {
        self.bodies.remove(&task);
    }
}

fn down() -> FederateError {
    FederateError::Port { message: "the disk is gone".to_owned(), kind: Kind::Internal }
}

impl SharedDisk {
    pub fn crash_at(&self, step: u64, outcome: u64) {
        self.0.borrow_mut().crash = Some((step, outcome));
    }

    pub fn crash_often(&self, seed: u64) {
        self.0.borrow_mut().dice = Some(Random::new(seed, 0));
    }

    pub fn steps(&self) -> u64 {
        self.0.borrow().steps
    }

    /// Does a step: `whole` if it is done, `half` if it is broken off.
    fn step(
        &self,
        half: impl FnOnce(&mut Disk),
        whole: impl FnOnce(&mut Disk),
    ) -> Result<(), FederateError> {
        let mut disk = self.0.borrow_mut();
        if disk.is_down {
            return Err(down());
        }
        let mut outcome = None;
        if disk.crash.is_some_and(|(step, _)| step == disk.steps) {
            outcome = disk.crash.map(|(_, outcome)| outcome);
        }
        if let Some(dice) = &mut disk.dice
            && dice.below(12) == 0
        {
            outcome = Some(dice.next() % 3);
        }
        disk.steps += 1;
        match outcome {
            None => whole(&mut disk),
            Some(0) => {}
            Some(1) => half(&mut disk),
            Some(_) => whole(&mut disk),
        }
        disk.is_down = outcome.is_some();
        if disk.is_down { Err(down()) } else { Ok(()) }
    }
}

impl Ledger for SharedDisk {
    fn load(&self) -> Result<State, FederateError> {
        Ok(self.0.borrow().state.clone())
    }

    fn commit(&mut self, entries: &[Entry]) -> Result<(), FederateError> {
        let apply = |disk: &mut Disk| {
            entries.iter().for_each(|entry| disk.state.apply(entry.clone()));
        };
        // All or nothing is what the store promises; half of it is nothing.
        self.step(|_| {}, apply)
    }
}

impl Files for SharedDisk {
    type Upload = Vec<u8>;

    fn received(&self, upload: &Vec<u8>, schema: &Schema) -> Result<Received, FederateError> {
        Received::of_bytes(upload.clone(), schema)
    }

    fn keep(&mut self, task: u64, upload: Vec<u8>) -> Result<(), FederateError> {
        let part = upload[..upload.len() / 2].to_vec();
        self.step(
            |disk| drop(disk.bodies.insert(task, part)),
            |disk| drop(disk.bodies.insert(task, upload)),
        )
    }

    fn update(&self, task: u64, schema: &Schema) -> Result<Received, FederateError> {
        let disk = self.0.borrow();
        let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let body = disk.bodies.get(&task).cloned().ok_or_else(gone)?;
        if disk.reads_fail {
            let file = tempfile::tempfile()?;
            (&file).write_all(&body)?;
            let received = Received::of_file(file.try_clone()?, schema)?;
            file.set_len(body.len() as u64 / 2)?;
            return Ok(received);
        }
        Received::of_bytes(body, schema)
    }

    fn put_model(&mut self, version: u64, model: &Model) -> Result<(), FederateError> {
        let mut part = model.clone();
        part.values.truncate(part.values.len() / 2);
        self.step(
            |disk| drop(disk.models.insert(version, part)),
            |disk| drop(disk.models.insert(version, model.clone())),
        )
    }

    fn model(&self, version: u64) -> Result<Model, FederateError> {
        self.0.borrow().models.get(&version).cloned().ok_or_else(down)
    }

    fn tidy(&mut self, tasks: &[u64], versions: RangeInclusive<u64>) {
        // Whether it succeeds is of no account to the caller.
        let _ = self.step(
            |disk| disk.bodies.retain(|task, _| tasks.contains(task) || task % 2 == 0),
            |disk| {
                disk.bodies.retain(|task, _| tasks.contains(task));
                disk.models.retain(|version, _| versions.contains(version));
            },
        );
    }
}
