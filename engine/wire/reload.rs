//! Owns the loading of versions that had to make room and are asked for again.
//!
//! Refuses to wait: who asks is told to come back. Bound: each version once at a time; the queue of
//! the thread that loads.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use truststram_base::{ModelId, ModelVersion};

use super::background::Background;
use super::sink::Ticket;
use crate::registry::Versions;

/// What loads, and its thread.
type By = (Arc<Versions<Ticket>>, Arc<Background>);
type Asked = Mutex<HashSet<(ModelId, ModelVersion)>>;

/// See the module.
#[derive(Clone, Default)]
pub struct Reloads {
    asked: Arc<Asked>,
    /// What loads; set once it is there.
    by: Arc<OnceLock<By>>,
}

fn lock(asked: &Asked) -> MutexGuard<'_, HashSet<(ModelId, ModelVersion)>> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reloads {
    /// Loads by these from now on.
    pub fn begin(&self, versions: Arc<Versions<Ticket>>, loader: Arc<Background>) {
        // Set once, at the start.
        let _ = self.by.set((versions, loader));
    }

    /// Has a version loaded again, unless it is so already.
    pub fn ask(&self, model: &ModelId, version: ModelVersion) {
        let Some((versions, loader)) = self.by.get().cloned() else { return };
        let key = (model.clone(), version);
        if !lock(&self.asked).insert(key.clone()) {
            return;
        }
        let asked = self.asked.clone();
        let loaded = loader.post(move || {
            if let Err(error) = versions.reload(&key.0, key.1) {
                tracing::error!(%error, "a version cannot be loaded again");
            }
            lock(&asked).remove(&key);
        });
        if !loaded {
            // The queue is full: the next one who asks tries again.
            lock(&self.asked).remove(&(model.clone(), version));
        }
    }
}
