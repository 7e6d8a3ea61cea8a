//! Owns a second core that helps the first, the way an idle worker of the engine does: it offers
//! its seat, sleeps until it is woken, and looks for a while after it has helped.
//!
//! Refuses to know what it computes. Bound: one thread, which ends with the value.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use truststram_machine::{Placement, Thread, ThreadSpec, spawn};
use truststram_model::kernels::{Seats, Team, TeamOfThreads};

use crate::measure::Outcome;

const OWNER: usize = 0;
const HELPER: usize = 1;

struct Shared {
    seats: Seats,
    ends: AtomicBool,
    asleep: Mutex<()>,
    wake: Condvar,
}

impl Shared {
    fn wake(&self) {
        // The helper looks at its seat with the lock in hand before it sleeps.
        drop(self.asleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    fn help(&self) {
        let ends = || self.ends.load(Ordering::Acquire);
        while !ends() {
            self.seats.offer(HELPER);
            let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
            while !self.seats.is_asked(HELPER) && !ends() {
                asleep = self.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
            }
            drop(asleep);
            self.seats.help(HELPER, ends);
        }
    }
}

/// See the module.
pub struct Helper {
    shared: Arc<Shared>,
    thread: Option<Thread<()>>,
}

impl Helper {
    /// Starts the thread on a core.
    pub fn start(core: u32) -> Outcome<Self> {
        let shared = Arc::new(Shared {
            seats: Seats::new(2),
            ends: AtomicBool::new(false),
            asleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        let spec = ThreadSpec { name: "helper".into(), cores: vec![core], ..ThreadSpec::default() };
        let helping = Arc::clone(&shared);
        let thread = spawn(spec, move |_: Placement| helping.help())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Runs with the team of the calling thread and the helper.
    pub fn team<R>(&self, run: impl FnOnce(&dyn Team) -> R) -> R {
        let wake = |_| self.shared.wake();
        run(&TeamOfThreads::new(&self.shared.seats, OWNER, 2, &wake))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the helper has been raised in `run` already.
            let _ = thread.join();
        }
    }
}
