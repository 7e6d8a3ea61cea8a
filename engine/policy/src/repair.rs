//! Owns the thread that replaces dead instances, so that a worker does not wait for it.
//!
//! Refuses to decide when an instance is used again; its breaker does. Bound: a queue of
//! [`JOBS_MAX`]; an instance asks once per death, so more cannot be needed.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use truststram_machine::{MachineError, Priority, Thread, ThreadSpec};

use crate::batcher::{BatcherPlugin, Live};

const JOBS_MAX: usize = 2_048;

/// One instance to replace.
pub(crate) struct Job {
    pub(crate) plugin: Arc<BatcherPlugin>,
    pub(crate) place: SyncSender<Live>,
}

enum Message {
    Replace(Job),
    Stop,
}

/// The way to the thread.
#[derive(Clone)]
pub(crate) struct RepairQueue(SyncSender<Message>);

impl RepairQueue {
    /// Queues a job; never waits.
    pub(crate) fn ask(&self, job: Job) {
        // With the thread gone the process is ending, and the native default serves.
        let _ = self.0.try_send(Message::Replace(job));
    }
}

/// The thread.
pub(crate) struct Repair {
    queue: RepairQueue,
    thread: Mutex<Option<Thread<()>>>,
}

impl Repair {
    pub(crate) fn start() -> Result<Self, MachineError> {
        let (sender, receiver) = sync_channel(JOBS_MAX);
        let spec = ThreadSpec {
            name: "policy-repair".to_owned(),
            priority: Priority::Batch,
            ..ThreadSpec::default()
        };
        let thread = truststram_machine::spawn(spec, move |_placement| run(&receiver))?;
        Ok(Self { queue: RepairQueue(sender), thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn queue(&self) -> RepairQueue {
        self.queue.clone()
    }

    pub(crate) fn close(&self) -> Result<(), MachineError> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        // The thread takes messages until this one, so there is room in time.
        let _ = self.queue.0.send(Message::Stop);
        thread.join()
    }
}

fn run(queue: &Receiver<Message>) {
    while let Ok(Message::Replace(job)) = queue.recv() {
        match job.plugin.start() {
            Ok(live) => {
                // The worker may have ended meanwhile.
                let _ = job.place.try_send(live);
            }
            Err(error) => tracing::error!(%error, "a plugin instance cannot be replaced"),
        }
    }
}
