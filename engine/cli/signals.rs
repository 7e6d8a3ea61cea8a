//! Owns the wait for signals that say to stop, beside the work of a command.
//!
//! Refuses to know what stopping is. Bound: one thread, which ends with the command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use truststram_machine::{MachineError, Signal, Signals, Thread, ThreadSpec, spawn};

/// Acts on SIGTERM and Ctrl-C until it is ended.
pub(super) struct Watch {
    thread: Thread<()>,
    over: Arc<AtomicBool>,
}

impl Watch {
    /// Has a thread call `stop` at each of these signals.
    pub(super) fn start(
        signals: Signals,
        stop: impl Fn() + Send + 'static,
    ) -> Result<Self, MachineError> {
        let over = Arc::new(AtomicBool::new(false));
        let seen_over = over.clone();
        let spec = ThreadSpec { name: "signals".to_owned(), ..ThreadSpec::default() };
        let thread = spawn(spec, move |_placement| {
            while let Ok(signal) = signals.wait() {
                if seen_over.load(Ordering::Acquire) {
                    return;
                }
                if matches!(signal, Signal::Terminate | Signal::Interrupt) {
                    stop();
                }
            }
        })?;
        Ok(Self { thread, over })
    }

    /// Ends the wait by a signal of our own.
    pub(super) fn end(self) -> Result<(), MachineError> {
        self.over.store(true, Ordering::Release);
        Signal::User1.send_to_self()?;
        self.thread.join()
    }
}
