//! Owns the clock that stops plugins: a thread that advances the engine's epoch every millisecond.
//!
//! It rests while no plugin is called, so that an idle server does not wake a thousand times a
//! second; a call that finds it resting wakes it. Refuses to know deadlines. Bound: one thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use truststram_machine::{MachineError, Priority, Thread, ThreadSpec};
use wasmtime::Engine;

/// Length of one tick.
pub(crate) const TICK_US: u64 = 1_000;
/// Ticks without a call after which the clock rests.
const IDLE_TICKS_MAX: u32 = 100;

/// What callers touch: two flags, written on every call, read on every tick.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    called: AtomicBool,
    resting: AtomicBool,
    stopping: AtomicBool,
    thread: OnceLock<std::thread::Thread>,
}

impl Pulse {
    /// Says that a call begins, so that the clock runs while it lasts.
    pub(crate) fn call_begins(&self) {
        // The order matters: the clock looks at `called` after it has said that it rests.
        self.called.store(true, Ordering::SeqCst);
        if self.resting.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// The running clock.
#[derive(Debug)]
pub(crate) struct Ticker {
    pulse: Arc<Pulse>,
    thread: Mutex<Option<Thread<()>>>,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> Result<Self, MachineError> {
        let pulse = Arc::new(Pulse::default());
        let own = pulse.clone();
        let spec = ThreadSpec {
            name: "policy-ticker".to_owned(),
            priority: Priority::Normal,
            ..ThreadSpec::default()
        };
        let thread = truststram_machine::spawn(spec, move |_placement| tick(&own, &engine))?;
        Ok(Self { pulse, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    pub(crate) fn close(&self) -> Result<(), MachineError> {
        self.pulse.stopping.store(true, Ordering::SeqCst);
        self.pulse.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(Ok(()), Thread::join)
    }
}

fn tick(pulse: &Pulse, engine: &Engine) {
    // Set once, here, before the clock can rest.
    let _ = pulse.thread.set(std::thread::current());
    let mut idle_ticks = 0;
    while !pulse.stopping.load(Ordering::SeqCst) {
        if idle_ticks < IDLE_TICKS_MAX {
            std::thread::park_timeout(Duration::from_micros(TICK_US));
            engine.increment_epoch();
            idle_ticks =
                if pulse.called.swap(false, Ordering::SeqCst) { 0 } else { idle_ticks + 1 };
            continue;
        }
        pulse.resting.store(true, Ordering::SeqCst);
        let wanted = pulse.called.load(Ordering::SeqCst) || pulse.stopping.load(Ordering::SeqCst);
        if !wanted {
            std::thread::park();
        }
        pulse.resting.store(false, Ordering::SeqCst);
        idle_ticks = 0;
    }
}
