//! Owns the clock that stops plugins: a thread that advances the engine's epoch at every tick.
//!
//! It rests once the longest deadline of the calls that began is long over, so that an idle server
//! does not wake hundreds of times a second; a call that finds it resting wakes it. Refuses to know
//! whose deadlines they are. Bound: one thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use truststram_machine::{MachineError, Priority, Thread, ThreadSpec};
use wasmtime::Engine;

/// The shortest tick, and the longest.
const TICK_US: std::ops::RangeInclusive<u64> = 1_000..=10_000;
/// Ticks of the shortest deadline: the finer, the less late a call is stopped, and the more often a
/// core that runs plugins is interrupted.
const TICKS_OF_DEADLINE: u64 = 4;
/// Ticks beyond the last deadline after which the clock rests.
const IDLE_TICKS: u64 = 100;

/// What callers touch: written on every call, read on every tick.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// The longest deadline, in ticks, of the calls that began since the last tick.
    deadline_ticks: AtomicU64,
    resting: AtomicBool,
    stopping: AtomicBool,
    thread: OnceLock<std::thread::Thread>,
    tick_us: u64,
}

impl Pulse {
    /// The ticks that this many microseconds take, rounded up.
    pub(crate) fn ticks(&self, us: u64) -> u64 {
        us.div_ceil(self.tick_us)
    }

    /// Says that a call with this deadline begins, so that the clock runs while it lasts.
    pub(crate) fn call_begins(&self, deadline_ticks: u64) {
        // The order matters: the clock looks at this after it has said that it rests.
        self.deadline_ticks.fetch_max(deadline_ticks, Ordering::SeqCst);
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
    /// A clock for plugins whose shortest deadline is `deadline_us`.
    pub(crate) fn start(engine: Engine, deadline_us: u64) -> Result<Self, MachineError> {
        let tick_us = (deadline_us / TICKS_OF_DEADLINE).clamp(*TICK_US.start(), *TICK_US.end());
        let pulse = Arc::new(Pulse {
            deadline_ticks: AtomicU64::new(0),
            resting: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            thread: OnceLock::new(),
            tick_us,
        });
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
    let mut ticks_left = 0_u64;
    while !pulse.stopping.load(Ordering::SeqCst) {
        if ticks_left > 0 {
            std::thread::park_timeout(Duration::from_micros(pulse.tick_us));
            engine.increment_epoch();
            let begun = pulse.deadline_ticks.swap(0, Ordering::SeqCst);
            let wanted = if begun > 0 { begun.saturating_add(IDLE_TICKS) } else { 0 };
            ticks_left = wanted.max(ticks_left - 1);
            continue;
        }
        pulse.resting.store(true, Ordering::SeqCst);
        let is_wanted = pulse.deadline_ticks.load(Ordering::SeqCst) > 0
            || pulse.stopping.load(Ordering::SeqCst);
        if !is_wanted {
            std::thread::park();
        }
        pulse.resting.store(false, Ordering::SeqCst);
        ticks_left = IDLE_TICKS;
    }
}
