//! Owns the records of the federation in the store.
//!
//! ```text
//! current/run        which federation it is, and whether it is over
//! current/...        see `truststram_federate::round::to_record`
//! token/SHA256       a token that lets one client in, by its hash
//! ```
//!
//! Refuses to know what they say. Bound: one transaction at a time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use truststram_federate::FederateError;
use truststram_federate::round::{Entry, Ledger, State, of_records, to_record};
use truststram_store::{Store, StoreError};

/// Before the names of the present federation's records.
pub(super) const CURRENT: &str = "current/";
/// The record that says which federation it is.
pub(super) const RUN: &str = "current/run";

/// Records that change.
pub(super) type Changes = Vec<(String, Option<Vec<u8>>)>;

/// The store as the federation sees it.
pub(super) struct StoreLedger {
    pub store: Arc<Store>,
    /// What goes into the next transaction as well.
    pub with: Rc<RefCell<Changes>>,
}

/// What the store says, in the federation's words.
pub(super) fn failed(error: &StoreError) -> FederateError {
    FederateError::Port { message: error.to_string(), kind: error.kind() }
}

impl Ledger for StoreLedger {
    fn load(&self) -> Result<State, FederateError> {
        let records = self.store.federation_records(CURRENT).map_err(|error| failed(&error))?;
        let own = records.iter().filter(|(name, _)| name != RUN);
        of_records(own.map(|(name, body)| (&name[CURRENT.len()..], body.as_slice())))
    }

    fn commit(&mut self, entries: &[Entry]) -> Result<(), FederateError> {
        let mut changes = self.with.take();
        for entry in entries {
            let (name, body) = to_record(entry)?;
            changes.push((format!("{CURRENT}{name}"), body));
        }
        self.store.change_federation(&changes).map_err(|error| failed(&error))
    }
}
