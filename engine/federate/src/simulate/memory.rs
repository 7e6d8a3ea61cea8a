//! Owns the records and files of a simulated federation, in memory.
//!
//! Refuses to outlive it. Bound: the models and bodies that the federation keeps.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use truststram_base::Kind;

use crate::codec::{Received, Schema};
use crate::error::FederateError;
use crate::round::{Entry, Files, Ledger, Model, State};

/// A ledger that nobody reads again.
#[derive(Debug, Default)]
pub(super) struct NoLedger;

impl Ledger for NoLedger {
    fn load(&self) -> Result<State, FederateError> {
        Ok(State::default())
    }

    fn commit(&mut self, _: &[Entry]) -> Result<(), FederateError> {
        Ok(())
    }
}

/// Bodies and models.
#[derive(Debug)]
pub(super) struct Memory {
    bodies: BTreeMap<u64, Vec<u8>>,
    models: BTreeMap<u64, Model>,
}

impl Memory {
    /// With the first model.
    pub fn new(values: Vec<f32>) -> Self {
        let first = Model { values, ..Model::default() };
        Self { bodies: BTreeMap::new(), models: BTreeMap::from([(0, first)]) }
    }
}

fn missing() -> FederateError {
    FederateError::Port { message: "it is not there".to_owned(), kind: Kind::Internal }
}

impl Files for Memory {
    type Upload = Vec<u8>;

    fn received(&self, upload: &Vec<u8>, schema: &Schema) -> Result<Received, FederateError> {
        Received::of_bytes(upload.clone(), schema)
    }

    fn keep(&mut self, task: u64, upload: Vec<u8>) -> Result<(), FederateError> {
        self.bodies.insert(task, upload);
        Ok(())
    }

    fn update(&self, task: u64, schema: &Schema) -> Result<Received, FederateError> {
        Received::of_bytes(self.bodies.get(&task).ok_or_else(missing)?.clone(), schema)
    }

    fn put_model(&mut self, version: u64, model: &Model) -> Result<(), FederateError> {
        self.models.insert(version, model.clone());
        Ok(())
    }

    fn model(&self, version: u64) -> Result<Model, FederateError> {
        self.models.get(&version).cloned().ok_or_else(missing)
    }

    fn tidy(&mut self, tasks: &[u64], versions: RangeInclusive<u64>) {
        self.bodies.retain(|task, _| tasks.contains(task));
        self.models.retain(|version, _| versions.contains(version));
    }
}
