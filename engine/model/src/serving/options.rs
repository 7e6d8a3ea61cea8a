//! Owns the settings of the engine and of one load.
//!
//! Refuses to know where they come from. Bound: each is checked when it is used first.

use truststram_base::limits::{BATCH_ITEM_COUNT_MAX, CORE_COUNT_MAX};
use truststram_machine::Priority;

use crate::artifact::Format;
use crate::error::ModelError;

/// Where one worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerPlace {
    /// The core that the worker is pinned to.
    pub core: u32,
    /// The NUMA node that its weights and buffers come from, if they are to be bound.
    pub memory_node: Option<u32>,
}

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// One worker per entry, 1 to [`CORE_COUNT_MAX`].
    pub workers: Vec<WorkerPlace>,
    /// Requests that may be accepted and not answered, all workers together; each group of workers
    /// has a share by its size.
    pub requests_max: usize,
    /// Most rows of one batch, 1 to [`BATCH_ITEM_COUNT_MAX`].
    pub batch_max: u32,
    /// Age to which a batcher may hold a request, microseconds.
    pub target_us: u32,
    /// Model versions that may be loaded at once.
    pub loaded_max: usize,
    /// Bytes that all loaded versions may have together, none for no limit. Workers' buffers count
    /// from when they are made: they never fail a request, but the next load makes room for them.
    pub memory_bytes_max: Option<u64>,
    /// Priority of the workers' threads.
    pub priority: Priority,
    /// Cores of threads of the caller that compute brief batches themselves, each by an inline
    /// worker; each must be a worker's core as well.
    pub inline_cores: Vec<u32>,
    /// Microseconds of computation up to which a request is brief.
    pub inline_us: u32,
}

impl EngineOptions {
    pub(super) fn validate(&self) -> Result<(), ModelError> {
        let workers = self.workers.len();
        ensure("workers", workers, (1..=CORE_COUNT_MAX).contains(&workers), "1 to 1024")?;
        let share = self.requests_max >= workers;
        ensure("requests_max", self.requests_max, share, "at least 1 per worker")?;
        batch_max_is_right(self.batch_max)?;
        let stray = self
            .inline_cores
            .iter()
            .find(|core| !self.workers.iter().any(|place| place.core == **core));
        let core = stray.copied().unwrap_or(0) as usize;
        ensure("inline_cores", core, stray.is_none(), "the core of a worker")?;
        ensure("loaded_max", self.loaded_max, self.loaded_max >= 1, "at least 1")
    }
}

/// How one version is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// How the model lies in its file.
    pub format: Format,
    /// Whether it becomes the active version once it is ready.
    pub activate: bool,
    /// Whether it stays in memory however long nobody asks for it.
    pub keep_warm: bool,
    /// Most rows of one batch; the engine's limit if none.
    pub batch_max: Option<u32>,
    /// Requests of this version that may be accepted and not answered; only the engine's limit
    /// holds if none.
    pub requests_max: Option<usize>,
    /// Most tokens of one batch of texts.
    pub tokens_max: u32,
    /// Time that the runs may take that check it before it is ready, milliseconds.
    pub validation_ms: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            format: Format::default(),
            activate: true,
            keep_warm: false,
            batch_max: None,
            requests_max: None,
            tokens_max: 16_384,
            validation_ms: 10_000,
        }
    }
}

impl LoadOptions {
    pub(super) fn validate(&self) -> Result<(), ModelError> {
        self.batch_max.map_or(Ok(()), batch_max_is_right)?;
        let requests = self.requests_max.unwrap_or(1);
        ensure("requests_max", requests, requests >= 1, "at least 1")?;
        ensure("tokens_max", self.tokens_max as usize, self.tokens_max >= 1, "at least 1")
    }
}

fn batch_max_is_right(batch_max: u32) -> Result<(), ModelError> {
    let batch_max = batch_max as usize;
    let right = (1..=BATCH_ITEM_COUNT_MAX).contains(&batch_max);
    ensure("batch_max", batch_max, right, "1 to 1024")
}

fn ensure(
    option: &'static str,
    found: usize,
    holds: bool,
    expected: &'static str,
) -> Result<(), ModelError> {
    match holds {
        true => Ok(()),
        false => Err(ModelError::Options { option, found: found as u64, expected }),
    }
}
