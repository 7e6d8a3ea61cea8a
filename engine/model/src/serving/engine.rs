//! Owns the engine: its workers' threads, the way of a request into a queue, closing.
//!
//! Refuses to know transports and policies. Bound: one thread per worker, which [`Engine::close`]
//! or the drop joins; `requests_max` requests in all.

use std::fmt;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use truststram_base::Clock;
use truststram_machine::{Placement, Thread, ThreadSpec, spawn};

use super::crew::{Crew, Post};
use super::group::{Group, Refusal};
use super::inline::{Brief, Computes, InlineWorker};
use super::loaded::LoadedModel;
use super::options::EngineOptions;
use super::port::{Batcher, Sink};
use super::registry::Registry;
use super::request::{Accepted, InferRequest, Queued, Refused, Size};
use super::stats::WorkerSnapshot;
use super::worker::{Worker, WorkerParts};
use crate::error::ModelError;

/// The inference engine. `T` travels with each request and comes back with its answer.
pub struct Engine<T: Send + 'static> {
    pub(super) crew: Arc<Crew<T>>,
    pub(super) registry: Registry,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) batch_max: u32,
    target_us: u32,
    brief: Brief,
    placements: Vec<Placement>,
    threads: Mutex<Vec<Thread<()>>>,
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
            crew: Arc::new(Crew::new(
                &options.workers,
                &options.inline_cores,
                options.requests_max,
            )),
            registry: Registry::new(options.loaded_max, options.memory_bytes_max),
            clock: Arc::clone(&clock),
            batch_max: options.batch_max,
            target_us: options.target_us,
            brief: Brief::new(options.inline_us),
            placements: Vec::with_capacity(options.workers.len()),
            threads: Mutex::new(Vec::new()),
        };
        for (index, place) in options.workers.iter().enumerate() {
            let parts = WorkerParts {
                crew: Arc::clone(&engine.crew),
                post: engine.crew.posts[index],
                clock: Arc::clone(&clock),
                batcher: make_batcher(index),
                sink: make_sink(index),
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
            engine.placements.push(placement.recv().map_err(|_| ModelError::Closed)?);
        }
        Ok(engine)
    }

    /// The inline worker of a core of `inline_cores`, by its place there; for one thread, which
    /// runs it each time that [`Engine::submit_inline`] says so.
    ///
    /// # Errors
    /// [`ModelError::Options`] where there is no such core.
    pub fn inline_worker(
        &self,
        index: usize,
        batcher: Box<dyn Batcher>,
        sink: Box<dyn Sink<T>>,
    ) -> Result<InlineWorker<T>, ModelError> {
        let post = self.inline_post(index).ok_or(ModelError::Options {
            option: "inline_cores",
            found: index as u64,
            expected: "the place of a core in it",
        })?;
        let parts = WorkerParts {
            crew: Arc::clone(&self.crew),
            post,
            clock: Arc::clone(&self.clock),
            batcher,
            sink,
            target_us: self.target_us,
        };
        Ok(InlineWorker::new(parts, self.brief, index))
    }

    fn inline_post(&self, index: usize) -> Option<Post> {
        self.crew.posts.get(self.placements.len() + index).copied()
    }

    /// Queues a request at the group of workers with the most room.
    ///
    /// # Errors
    /// Gives the request back with what is wrong with its input, [`ModelError::QueueFull`] or
    /// [`ModelError::Closed`]. The large error is the request itself, moved once.
    #[allow(clippy::result_large_err)]
    pub fn submit(
        &self,
        model: &Arc<LoadedModel>,
        request: InferRequest<T>,
    ) -> Result<(), Refused<T>> {
        let queued = self.admit(model, request)?;
        self.push(self.crew.emptiest(), queued)
    }

    /// Queues a request where the inline worker of this place in `inline_cores` finds it, if it is
    /// brief, or else as [`Engine::submit`] does; says whether that worker is to be run, which may
    /// wait until more requests are queued.
    ///
    /// # Errors
    /// As [`Engine::submit`].
    #[allow(clippy::result_large_err)]
    pub fn submit_inline(
        &self,
        index: usize,
        model: &Arc<LoadedModel>,
        request: InferRequest<T>,
    ) -> Result<Computes, Refused<T>> {
        let queued = self.admit(model, request)?;
        let post = self.inline_post(index).filter(|_| self.brief.allows(&queued));
        let queued = match post.map(|post| &self.crew.groups[post.group]) {
            None => queued,
            Some(group) => match group.push(queued, Computes::Inline) {
                Ok(()) => return Ok(Computes::Inline),
                // Another group may have room.
                Err((_, queued)) => queued,
            },
        };
        self.push(self.crew.emptiest(), queued).map(|()| Computes::Worker)
    }

    /// Checks a request, which counts as accepted by its model from now on.
    #[allow(clippy::result_large_err)]
    fn admit(
        &self,
        model: &Arc<LoadedModel>,
        request: InferRequest<T>,
    ) -> Result<Queued<T>, Refused<T>> {
        let size = match Size::of(model, &request.payload) {
            Ok(size) => size,
            Err(error) => return Err(Refused { error, request }),
        };
        let Some(accepted) = Accepted::of(model) else {
            let error = ModelError::QueueFull { requests_max: model.limits().requests_max };
            return Err(Refused { error, request });
        };
        model.used(request.enqueued_us);
        Ok(Queued { model: accepted, request, size, arrived: 0 })
    }

    #[allow(clippy::result_large_err)]
    fn push(&self, group: &Group<T>, queued: Queued<T>) -> Result<(), Refused<T>> {
        group.push(queued, Computes::Worker).map_err(|(refusal, queued)| {
            let requests_max = group.requests_max();
            let error = match refusal {
                Refusal::Full => ModelError::QueueFull { requests_max },
                Refusal::Closed => ModelError::Closed,
            };
            Refused { error, request: queued.request }
        })
    }

    /// What each worker did so far.
    pub fn stats(&self) -> Vec<WorkerSnapshot> {
        let snapshot = |(index, placement): (usize, &Placement)| {
            let group = self.crew.posts[index].group;
            let unanswered = self.crew.groups[group].unanswered();
            self.crew.stats[index].snapshot(placement.clone(), group, unanswered)
        };
        self.placements.iter().enumerate().map(snapshot).collect()
    }

    /// Refuses new requests, answers all accepted ones and joins the workers. Safe to call twice.
    ///
    /// # Errors
    /// [`ModelError::Machine`] if a worker ended by a panic; all are joined nevertheless.
    pub fn close(&self) -> Result<(), ModelError> {
        self.crew.groups.iter().for_each(Group::close);
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
            .field("workers", &self.placements.len())
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
