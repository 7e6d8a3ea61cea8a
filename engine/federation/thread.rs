//! Owns the thread of a federation: what is asked of it, and what is due by itself.
//!
//! Refuses to know the work. Bound: a queue of jobs; a full one refuses.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, ready};
use tokio::sync::oneshot;
use truststram_api::ports::Failure;
use truststram_machine::{MachineError, Priority, Thread, ThreadSpec};

use super::desk::{Desk, Means};

/// Jobs that may wait.
const JOBS_MAX: usize = 1_024;

type Job = Box<dyn FnOnce(&mut Desk) + Send>;

/// The thread and the way to it.
pub struct FederationThread {
    jobs: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<Thread<()>>>,
}

impl FederationThread {
    /// Starts it; it takes up the federation that was running.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(means: Means) -> Result<Self, MachineError> {
        let (jobs, waiting) = sync_channel::<Job>(JOBS_MAX);
        let spec = ThreadSpec {
            name: "federation".to_owned(),
            cores: Vec::new(),
            memory_node: None,
            priority: Priority::Batch,
        };
        let thread = truststram_machine::spawn(spec, move |_placement| {
            let mut desk = Desk::open(means);
            loop {
                desk.turn();
                let job = match desk.rest() {
                    Some(rest) => waiting.recv_timeout(rest),
                    None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                match job {
                    Ok(job) => job(&mut desk),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Does something at the desk; the future ends with its result.
    pub fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Desk) -> T + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Failure>> {
        let (done, waiting) = oneshot::channel();
        let job: Job = Box::new(move |desk| {
            // The client may have gone; then nobody waits.
            let _ = done.send(job(desk));
        });
        match self.send(job) {
            Ok(()) => waiting.map(|result| result.map_err(|_| Failure::Draining)).boxed(),
            Err(failure) => ready(Err(failure)).boxed(),
        }
    }

    fn send(&self, job: Job) -> Result<(), Failure> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        jobs.ok_or(Failure::Draining)?.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => Failure::QueueFull("federation"),
            TrySendError::Disconnected(_) => Failure::Draining,
        })
    }

    /// Sends all who wait away, so that nobody holds a drain up.
    pub fn send_away(&self) {
        // A full queue ends soon, or at the limit of the drain.
        let _ = self.send(Box::new(Desk::send_away));
    }

    /// Does what is queued, takes no more and joins the thread. A second call does nothing.
    ///
    /// # Errors
    /// If the thread has panicked.
    pub fn close(&self) -> Result<(), MachineError> {
        *self.jobs.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(Ok(()), Thread::join)
    }
}
