//! Owns the thread that replaces dead instances, so that a worker does not wait for it.
//!
//! Refuses to decide when an instance is used again; its breaker does. Bound: a queue of
//! [`JOBS_MAX`]; an instance asks once per death, so more cannot be needed.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use truststram_machine::{MachineError, Priority, Thread, ThreadSpec};

const JOBS_MAX: usize = 2_048;

/// Makes one instance and hands it to its worker.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

enum Message {
    Replace(Job),
    Stop,
}

/// The way to the thread.
#[derive(Clone)]
pub(crate) struct RepairQueue(SyncSender<Message>);

impl RepairQueue {
    /// Queues a job and says whether there was room; never waits. With the thread gone the process
    /// is ending, and the native defaults serve.
    pub(crate) fn ask(&self, job: Job) -> bool {
        self.0.try_send(Message::Replace(job)).is_ok()
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
        job();
    }
}
