//! Owns a thread for work that would hold up a network thread: reading the store, loading plugins.
//!
//! Refuses to know the work. Bound: a queue of jobs; a full one refuses.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, ready};
use tokio::sync::oneshot;
use truststram_api::ports::Failure;
use truststram_machine::{MachineError, Priority, Thread, ThreadSpec};

type Job = Box<dyn FnOnce() + Send>;

/// The thread and the way to it.
pub struct Background {
    queue: &'static str,
    jobs: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<Thread<()>>>,
}

impl Background {
    /// Starts the thread `name`; at most `queue_max` jobs wait for it. `queue` is what a client is
    /// told is full.
    pub fn start(name: &str, queue: &'static str, queue_max: usize) -> Result<Self, MachineError> {
        let (jobs, waiting) = sync_channel::<Job>(queue_max);
        let spec = ThreadSpec {
            name: name.to_owned(),
            cores: Vec::new(),
            memory_node: None,
            priority: Priority::Batch,
        };
        let thread = truststram_machine::spawn(spec, move |_placement| {
            for job in waiting {
                job();
            }
        })?;
        Ok(Self { queue, jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Runs `job` on the thread; the future ends with its result.
    pub fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Failure>> {
        let (done, waiting) = oneshot::channel();
        let job: Job = Box::new(move || {
            // The client may have gone; then nobody waits.
            let _ = done.send(job());
        });
        match self.send(job) {
            Ok(()) => waiting.map(|result| result.map_err(|_| Failure::Draining)).boxed(),
            Err(failure) => ready(Err(failure)).boxed(),
        }
    }

    /// Runs `job` on the thread without anybody waiting for it; returns whether it was queued.
    pub fn post(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.send(Box::new(job)).is_ok()
    }

    /// Runs `job` on the thread and waits for its result; never on a network thread.
    pub fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (done, waiting) = sync_channel(1);
        self.send(Box::new(move || {
            // Nobody waits only if the caller's thread has died.
            let _ = done.send(job());
        }))?;
        waiting.recv().map_err(|_| Failure::Draining)
    }

    fn send(&self, job: Job) -> Result<(), Failure> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        jobs.ok_or(Failure::Draining)?.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => Failure::QueueFull(self.queue),
            TrySendError::Disconnected(_) => Failure::Draining,
        })
    }

    /// Runs what is queued, takes no more and joins the thread. A second call does nothing.
    pub fn close(&self) -> Result<(), MachineError> {
        *self.jobs.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(Ok(()), Thread::join)
    }
}
