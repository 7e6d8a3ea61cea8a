//! Owns the thread on which the store keeps itself in order: retention, tiers, the scrub.
//!
//! Refuses to know what that is. Bound: one thread.

use std::sync::{Arc, Mutex, PoisonError};

use truststram_machine::{MachineError, Priority, Thread, ThreadSpec};
use truststram_store::{MaintenanceOptions, Store, Upkeep};

/// The thread.
pub struct UpkeepThread {
    upkeep: Arc<Upkeep>,
    thread: Mutex<Option<Thread<()>>>,
}

impl UpkeepThread {
    /// Starts it; the first round is made after some minutes.
    pub fn start(store: Arc<Store>, options: MaintenanceOptions) -> Result<Self, MachineError> {
        let upkeep = Arc::new(Upkeep::default());
        let spec = ThreadSpec {
            name: "store-upkeep".to_owned(),
            cores: Vec::new(),
            memory_node: None,
            priority: Priority::Batch,
        };
        let of_thread = upkeep.clone();
        let thread = truststram_machine::spawn(spec, move |_placement| {
            of_thread.run(&store, &options);
        })?;
        Ok(Self { upkeep, thread: Mutex::new(Some(thread)) })
    }

    /// Ends what is under way and joins the thread. A second call does nothing.
    pub fn close(&self) -> Result<(), MachineError> {
        self.upkeep.end();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(Ok(()), Thread::join)
    }
}
