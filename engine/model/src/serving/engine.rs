//! Owns the engine: its workers' threads, the choice of a worker, loading and closing.
//!
//! Refuses to know transports and policies. Bound: one thread per [`WorkerPlace`], which
//! [`Engine::close`] or the drop joins; `requests_max` requests in all.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use truststram_base::limits::{BATCH_ITEM_COUNT_MAX, CORE_COUNT_MAX};
use truststram_base::{Clock, ModelId, ModelVersion};
use truststram_machine::{Placement, Priority, Thread, ThreadSpec, spawn};

use super::inbox::{Command, Inbox, Queued, Refusal};
use super::port::{Batcher, InferRequest, Refused, Sink};
use super::registry::{LoadedModel, Registry};
use super::replica::{Load, SharedBytes};
use super::stats::{WorkerSnapshot, WorkerStats};
use super::worker::{Worker, WorkerParts};
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
    /// Requests that may be accepted and not answered, all workers together; each worker has an
    /// equal share of at least 1.
    pub requests_max: usize,
    /// Most requests of one batch, 1 to [`BATCH_ITEM_COUNT_MAX`].
    pub batch_max: u32,
    /// Age to which a batcher may hold a request, microseconds.
    pub target_us: u32,
    /// Model versions that may be loaded at once.
    pub loaded_max: usize,
    /// Priority of the workers' threads.
    pub priority: Priority,
}

impl EngineOptions {
    fn validate(&self) -> Result<(), ModelError> {
        let ensure = |option, found: usize, holds, expected| match holds {
            true => Ok(()),
            false => Err(ModelError::Options { option, found: found as u64, expected }),
        };
        let workers = self.workers.len();
        ensure("workers", workers, (1..=CORE_COUNT_MAX).contains(&workers), "1 to 1024")?;
        let share = self.requests_max >= workers;
        ensure("requests_max", self.requests_max, share, "at least 1 per worker")?;
        let batch_max = self.batch_max as usize;
        let batch = (1..=BATCH_ITEM_COUNT_MAX).contains(&batch_max);
        ensure("batch_max", batch_max, batch, "1 to 1024")?;
        ensure("loaded_max", self.loaded_max, self.loaded_max >= 1, "at least 1")
    }
}

struct Crew<T> {
    inbox: Arc<Inbox<T>>,
    stats: Arc<WorkerStats>,
    placement: Placement,
}

/// The inference engine. `T` travels with each request and comes back with its answer.
pub struct Engine<T: Send + 'static> {
    crew: Vec<Crew<T>>,
    threads: Mutex<Vec<Thread<()>>>,
    registry: Registry,
    /// Where the search for the shortest queue starts, so that equals take turns.
    turn: AtomicUsize,
    share: usize,
}

impl<T: Send + 'static> Engine<T> {
    /// Starts the workers and returns when all of them run. `make_batcher` and `make_sink` are
    /// called once per worker, with its index, on the calling thread.
    ///
    /// # Errors
    /// [`ModelError::Options`] names the option; [`ModelError::Machine`] if a thread cannot start.
    pub fn start(
        options: &EngineOptions,
        clock: Arc<dyn Clock>,
        make_batcher: impl Fn(usize) -> Box<dyn Batcher>,
        make_sink: impl Fn(usize) -> Box<dyn Sink<T>>,
    ) -> Result<Self, ModelError> {
        options.validate()?;
        let mut engine = Self {
            crew: Vec::with_capacity(options.workers.len()),
            threads: Mutex::new(Vec::new()),
            registry: Registry::new(options.loaded_max),
            turn: AtomicUsize::new(0),
            share: options.requests_max / options.workers.len(),
        };
        for (index, place) in options.workers.iter().enumerate() {
            let inbox = Arc::new(Inbox::new(engine.share));
            let stats = Arc::new(WorkerStats::default());
            let parts = WorkerParts {
                inbox: Arc::clone(&inbox),
                stats: Arc::clone(&stats),
                clock: Arc::clone(&clock),
                batcher: make_batcher(index),
                sink: make_sink(index),
                batch_max: options.batch_max,
                target_us: options.target_us,
            };
            let (placed, placement) = sync_channel(1);
            let spec = ThreadSpec {
                name: format!("infer-{index}"),
                cores: vec![place.core],
                memory_node: place.memory_node,
                priority: options.priority,
            };
            let thread = spawn(spec, move |placement: Placement| {
                // The engine waits for this in `start`, so the send cannot fail.
                let _ = placed.send(placement);
                Worker::new(parts).run();
            })?;
            engine.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
            let placement = placement.recv().map_err(|_| ModelError::Closed)?;
            engine.crew.push(Crew { inbox, stats, placement });
        }
        Ok(engine)
    }

    /// Loads a version and makes it the active one. Every worker reads `bytes` and builds its
    /// replica on its own thread, between two batches; the switch happens when all are ready.
    /// Requests keep running meanwhile. Blocks until then, so call it on no network thread.
    ///
    /// # Errors
    /// What is wrong with the file, or that the version or the number of versions cannot be. After
    /// an error the engine is as before.
    pub fn load<B: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        id: &ModelId,
        version: ModelVersion,
        bytes: Arc<B>,
    ) -> Result<Arc<LoadedModel>, ModelError> {
        let mut change = self.registry.change();
        let key = change.admit(id, version)?;
        let alive = Arc::new(());
        let bytes: SharedBytes = bytes;
        let (done, built) = sync_channel(self.crew.len());
        for crew in &self.crew {
            let (bytes, done) = (Arc::clone(&bytes), done.clone());
            let load = Load { key, alive: Arc::downgrade(&alive), bytes, done };
            if !crew.inbox.command(Command::Load(load)) {
                return Err(ModelError::Closed);
            }
        }
        drop(done);
        let mut spec = None;
        for _ in &self.crew {
            // A worker that dies drops its end, which ends this wait.
            spec = Some(built.recv().map_err(|_| ModelError::Closed)??);
        }
        let spec = spec.ok_or(ModelError::Closed)?;
        let model = Arc::new(LoadedModel { id: id.clone(), version, spec, key, _alive: alive });
        change.insert(Arc::clone(&model));
        Ok(model)
    }

    /// Makes another loaded version the active one.
    ///
    /// # Errors
    /// [`ModelError::NotLoaded`].
    pub fn activate(&self, id: &ModelId, version: ModelVersion) -> Result<(), ModelError> {
        self.registry.change().activate(id, version)
    }

    /// Forgets a version. Handles to it stay usable; the memory is freed once the last one is gone
    /// and the workers have looked, which they do before they sleep and at every load.
    ///
    /// # Errors
    /// [`ModelError::NotLoaded`], or [`ModelError::Active`] while other versions of it are loaded.
    pub fn unload(&self, id: &ModelId, version: ModelVersion) -> Result<(), ModelError> {
        self.registry.change().remove(id, version)?;
        for crew in &self.crew {
            crew.inbox.command(Command::Sweep);
        }
        Ok(())
    }

    /// A loaded version, or the active one if none is named. Takes no lock.
    pub fn model(&self, id: &ModelId, version: Option<ModelVersion>) -> Option<Arc<LoadedModel>> {
        self.registry.find(id, version)
    }

    /// Every loaded version and whether it is the active one, ordered by id and version.
    pub fn models(&self) -> Vec<(Arc<LoadedModel>, bool)> {
        self.registry.list()
    }

    /// Queues a request at the worker with the fewest unanswered ones.
    ///
    /// # Errors
    /// Gives the request back with [`ModelError::FeatureCount`], [`ModelError::QueueFull`] or
    /// [`ModelError::Closed`]. The large error is the request itself, moved once.
    #[allow(clippy::result_large_err)]
    pub fn submit(
        &self,
        model: &Arc<LoadedModel>,
        request: InferRequest<T>,
    ) -> Result<(), Refused<T>> {
        let (found, expected) = (request.features.len(), model.feature_count());
        if found != expected {
            return Err(Refused { error: ModelError::FeatureCount { found, expected }, request });
        }
        let queued = Queued { model: Arc::clone(model), request };
        self.shortest().push(queued).map_err(|(refusal, queued)| {
            let error = match refusal {
                Refusal::Full => ModelError::QueueFull { requests_max: self.share },
                Refusal::Closed => ModelError::Closed,
            };
            Refused { error, request: queued.request }
        })
    }

    fn shortest(&self) -> &Inbox<T> {
        let count = self.crew.len();
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let mut best = &self.crew[start].inbox;
        let mut fewest = best.unanswered();
        for step in 1..count {
            if fewest == 0 {
                break;
            }
            let inbox = &self.crew[(start + step) % count].inbox;
            let unanswered = inbox.unanswered();
            if unanswered < fewest {
                (best, fewest) = (inbox, unanswered);
            }
        }
        best
    }

    /// What each worker did so far.
    pub fn stats(&self) -> Vec<WorkerSnapshot> {
        let snapshot =
            |crew: &Crew<T>| crew.stats.snapshot(crew.placement.clone(), crew.inbox.unanswered());
        self.crew.iter().map(snapshot).collect()
    }

    /// Refuses new requests, answers all accepted ones and joins the workers. Safe to call twice.
    ///
    /// # Errors
    /// [`ModelError::Machine`] if a worker ended by a panic; all are joined nevertheless.
    pub fn close(&self) -> Result<(), ModelError> {
        for crew in &self.crew {
            crew.inbox.close();
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let mut result = Ok(());
        for thread in threads {
            result = result.and(thread.join().map_err(ModelError::from));
        }
        result
    }
}

impl<T: Send + 'static> Drop for Engine<T> {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "an inference worker ended badly");
        }
    }
}

impl<T: Send + 'static> fmt::Debug for Engine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("workers", &self.crew.len())
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
