//! Owns the faces of what a federation needs and does not know: records, files, decisions.
//!
//! Refuses to know who is behind them. Bound: one call at a time.

use std::ops::RangeInclusive;

use truststram_decide::aggregation::{Admission, CostlyFacts, Outcome, Round, Update, Updates};
use truststram_decide::selection::{Assignments, Clients, RoundRequest};

use super::records::{Entry, State};
use crate::aggregate::ServerState;
use crate::codec::{Received, Schema};
use crate::error::FederateError;

/// Where the records are kept.
pub trait Ledger {
    /// All records, as the last commit left them.
    ///
    /// # Errors
    /// What the store says.
    fn load(&self) -> Result<State, FederateError>;

    /// Keeps all of these or none, durably once it returns.
    ///
    /// # Errors
    /// What the store says; it may then be either.
    fn commit(&mut self, entries: &[Entry]) -> Result<(), FederateError>;
}

/// One version of the model, with what its optimiser keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The parameters, in the order of the schema.
    pub values: Vec<f32>,
    /// The moments.
    pub state: ServerState,
}

/// Where bodies of updates and models are kept.
pub trait Files {
    /// A body that has arrived and is not kept yet.
    type Upload;

    /// The body of an upload, held against the schema.
    ///
    /// # Errors
    /// What is wrong with it.
    fn received(&self, upload: &Self::Upload, schema: &Schema) -> Result<Received, FederateError>;

    /// Keeps a body under the number of its task, durably once it returns. One that is there is
    /// replaced.
    ///
    /// # Errors
    /// What the file system says; it may then be there, or a part of it.
    fn keep(&mut self, task: u64, upload: Self::Upload) -> Result<(), FederateError>;

    /// The body of a task.
    ///
    /// # Errors
    /// What the file system says.
    fn update(&self, task: u64, schema: &Schema) -> Result<Received, FederateError>;

    /// Writes a version of the model, durably once it returns. One that is there is replaced.
    ///
    /// # Errors
    /// As [`Files::keep`].
    fn put_model(&mut self, version: u64, model: &Model) -> Result<(), FederateError>;

    /// A version of the model.
    ///
    /// # Errors
    /// What the file system says.
    fn model(&self, version: u64) -> Result<Model, FederateError>;

    /// Removes the bodies of all tasks but these and all other versions. What cannot be removed
    /// now is removed by a later call.
    fn tidy(&mut self, tasks: &[u64], versions: RangeInclusive<u64>);
}

/// Who decides.
pub trait Policy {
    /// Who trains in a round.
    ///
    /// # Errors
    /// Why nobody does.
    fn select(&mut self, request: &RoundRequest, clients: &Clients) -> Result<Assignments, String>;

    /// Which costly facts [`Policy::make_plan`] wants.
    fn wanted(&mut self) -> CostlyFacts;

    /// What becomes of an update.
    fn admit(&mut self, round: &Round, update: &Update) -> Admission;

    /// How the updates of a round become a model.
    ///
    /// # Errors
    /// Why there is no plan; the model is kept.
    fn make_plan(&mut self, round: &Round, updates: &Updates) -> Result<Outcome, String>;
}
