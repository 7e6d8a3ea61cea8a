//! Owns the threads for what would hold up a network thread: started together, ended in two steps.
//!
//! Refuses to know their work. Bound: each has a queue with a limit.

use std::sync::Arc;

use truststram_machine::{MachineError, Precedence};
use truststram_store::Store;

use crate::config::Plan;
use crate::wire::background::Background;
use crate::wire::upkeep::UpkeepThread;
use crate::wire::versions::UPLOADS_MAX;

/// Changes of model versions that may wait for each other.
const CHANGES_MAX: usize = 64;
/// Texts, or lists of texts, that may wait to become tokens.
const TEXTS_MAX: usize = 1_024;
/// Comparisons of vectors that may wait for each other.
const SIMILARITIES_MAX: usize = 64;
/// Changes of plugins that may wait for each other.
const LOADS_MAX: usize = 8;
/// Bodies with rows for data sets that may wait for each other.
const APPENDS_MAX: usize = 8;
/// Checks and other work on the whole store that may wait for each other.
const MAINTENANCE_MAX: usize = 8;
/// Chunks of federated updates and models that may wait for the disk.
const FEDERATION_FILES_MAX: usize = 1_024;

/// Reloads of the configuration that may wait for each other.
const RELOADS_MAX: usize = 2;
/// Changes of API keys that may wait for each other.
const KEYS_MAX: usize = 64;
/// Changes of training jobs that may wait for each other.
const TRAININGS_MAX: usize = 64;

/// Threads for what would hold up a network thread, one for each kind of work.
pub struct Threads {
    /// Answers queries.
    pub reader: Arc<Background>,
    /// Appends rows to data sets.
    pub appender: Arc<Background>,
    /// Checks the store.
    pub maintenance: Arc<Background>,
    /// Checks, compiles and swaps plugins.
    pub loader: Arc<Background>,
    /// Writes model files that arrive.
    pub uploads: Arc<Background>,
    /// Loads, switches and removes model versions.
    pub models: Arc<Background>,
    /// Makes tokens of texts.
    pub texts: Arc<Background>,
    /// Compares vectors.
    pub similarities: Arc<Background>,
    /// Changes API keys.
    pub keys: Arc<Background>,
    /// Writes the updates of federated clients, and reads the models that they fetch.
    pub federation_files: Arc<Background>,
    /// Changes training jobs.
    pub training: Arc<Background>,
    /// Reads the configuration again.
    pub reconfigurer: Arc<Background>,
    /// Lets network threads go before all others of their cores, where that is wanted.
    pub precedence: Option<Arc<Precedence>>,
    /// Keeps the store in order.
    pub upkeep: UpkeepThread,
}

impl Threads {
    /// Starts all of them.
    pub fn start(plan: &Plan, store: &Arc<Store>) -> Result<Self, MachineError> {
        let waits = store.clone();
        let precedence = plan.network_first.then(|| Precedence::start(move || waits.is_behind()));
        let start = |name, queue, max| Background::start(name, queue, max).map(Arc::new);
        Ok(Self {
            reader: start("store-reader", "read", plan.store.read_queue_max)?,
            appender: start("dataset-writer", "data set", APPENDS_MAX)?,
            maintenance: start("store-maintenance", "maintenance", MAINTENANCE_MAX)?,
            loader: start("policy-loader", "plugin", LOADS_MAX)?,
            uploads: start("model-writer", "upload", UPLOADS_MAX)?,
            models: start("model-loader", "model", CHANGES_MAX)?,
            texts: start("text-tokens", "text", TEXTS_MAX)?,
            similarities: start("similarity", "similarity", SIMILARITIES_MAX)?,
            keys: start("api-keys", "key", KEYS_MAX)?,
            federation_files: start("federation-io", "update", FEDERATION_FILES_MAX)?,
            training: start("training-jobs", "training", TRAININGS_MAX)?,
            reconfigurer: start("config-reload", "reload", RELOADS_MAX)?,
            precedence: precedence.transpose()?.map(Arc::new),
            upkeep: UpkeepThread::start(store.clone(), plan.maintenance())?,
        })
    }

    /// Ends those that bring work to the engine and the store.
    pub fn close_bringers(&self) -> Result<(), MachineError> {
        let bringers = [
            &self.loader,
            &self.uploads,
            &self.models,
            &self.texts,
            &self.similarities,
            &self.maintenance,
            &self.appender,
            &self.federation_files,
            &self.training,
            &self.reconfigurer,
            &self.keys,
        ];
        // Each is ended whatever became of the one before; the first error is reported.
        bringers.map(|thread| thread.close()).into_iter().collect()
    }

    /// Ends those that only look after the store.
    pub fn close_keepers(&self) -> Result<(), MachineError> {
        let (reader, upkeep) = (self.reader.close(), self.upkeep.close());
        let precedence = self.precedence.as_ref().map_or(Ok(()), |watcher| watcher.close());
        reader.and(upkeep).and(precedence)
    }
}
