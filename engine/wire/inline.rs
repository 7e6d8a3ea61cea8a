//! Owns the inline workers of the network threads that share their core with a worker: brief
//! batches are computed on the network thread, behind everything that was ready to run before.
//!
//! Requests that arrive together are queued by their connections' tasks; the task here is woken by
//! the first of them and runs behind the others, so that they become one batch. Refuses to know
//! what is brief. Bound: one task and one worker for each such thread; [`BATCHES_MAX`] batches
//! before the network has its turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use truststram_model::{Computes, Engine, InferRequest, InlineWorker, LoadedModel, Refused};

use super::replies::network_thread;

/// Batches that are computed one after the other before other tasks run.
const BATCHES_MAX: usize = 4;

/// The inline worker of one network thread.
struct Inline<T> {
    /// Its place among the engine's inline workers.
    place: usize,
    /// Taken by the thread when it starts.
    worker: Mutex<Option<InlineWorker<T>>>,
    /// Brief requests wait.
    asked: Notify,
    /// Whether the task runs that answers.
    runs: AtomicBool,
}

/// The inline workers by network thread.
pub struct InlineWorkers<T> {
    by_thread: Vec<Option<Inline<T>>>,
}

impl<T: Send + 'static> InlineWorkers<T> {
    /// One for each network thread that has some.
    pub fn new(by_thread: Vec<Option<InlineWorker<T>>>) -> Self {
        let inline = |worker: InlineWorker<T>| Inline {
            place: worker.place(),
            worker: Mutex::new(Some(worker)),
            asked: Notify::new(),
            runs: AtomicBool::new(false),
        };
        Self { by_thread: by_thread.into_iter().map(|worker| worker.map(inline)).collect() }
    }

    /// Starts the task of network thread `index` on the calling thread, inside its event loop.
    pub fn adopt_thread(self: &Arc<Self>, index: usize) {
        let Some(inline) = self.of(index) else { return };
        let taken = inline.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut worker) = taken else { return };
        inline.runs.store(true, Ordering::Relaxed);
        let running = Running(self.clone(), index);
        tokio::spawn(async move {
            while let Some(inline) = running.0.of(running.1) {
                inline.asked.notified().await;
                while (0..BATCHES_MAX).all(|_| worker.run()) {
                    worker.hand_over();
                    tokio::task::yield_now().await;
                }
            }
        });
    }

    /// Queues a request; see [`Engine::submit`].
    #[allow(clippy::result_large_err)]
    pub fn submit(
        &self,
        engine: &Engine<T>,
        model: &Arc<LoadedModel>,
        request: InferRequest<T>,
    ) -> Result<(), Refused<T>> {
        let here = network_thread().and_then(|index| self.of(index));
        match here.filter(|inline| inline.runs.load(Ordering::Relaxed)) {
            None => engine.submit(model, request),
            Some(inline) => {
                if engine.submit_inline(inline.place, model, request)? == Computes::Inline {
                    inline.asked.notify_one();
                }
                Ok(())
            }
        }
    }
}

impl<T> InlineWorkers<T> {
    fn of(&self, index: usize) -> Option<&Inline<T>> {
        self.by_thread.get(index)?.as_ref()
    }
}

/// While the task of a thread runs; whatever ends it, later requests go to the workers.
struct Running<T>(Arc<InlineWorkers<T>>, usize);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if let Some(inline) = self.0.of(self.1) {
            inline.runs.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
