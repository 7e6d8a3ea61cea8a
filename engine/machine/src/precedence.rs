//! Owns which threads go before all others of their cores, and when they lose that.
//!
//! A thread that joins is a real-time one (sched(7): `SCHED_RR`, priority 1; threads that it starts
//! are not) as long as it leaves a twentieth of its core to others and nobody says that they are
//! behind. A watcher looks ten times a second and puts it among the others, or back. So a thread
//! that wakes for a request does not wait for a store or a kernel worker that is on its core, a
//! burst is answered at once, and a flood shares the core as before. Refuses to know what threads
//! do. Bound: one thread of brief looks and one small file for each member; a member keeps others
//! off its core for half a second, what it may owe and a look, also where the kernel does not
//! throttle real-time threads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::MachineError;
use crate::system_calls::{self, CpuClock};
use crate::thread::{Degraded, Thread, ThreadSpec, kernel_name, spawn};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Share of its core that a member must leave to others to go first: they may work for it, as the
/// store does, and would starve.
const LEFT: f64 = 0.05;
/// Seconds of their share that a member may owe the others, as in a burst.
const CREDIT_MAX: f64 = 0.02;
/// What it must have earned to go first again.
const CREDIT_AGAIN: f64 = CREDIT_MAX / 2.0;

/// Real-time priorities: the watcher's look must come in time, whatever members do.
const MEMBER: i32 = 1;
const WATCHER: i32 = 2;

/// A member as operators see it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The thread's name.
    pub name: String,
    /// Whether it goes first now.
    pub is_first: bool,
    /// How often it lost that.
    pub lost: u64,
    /// Why the kernel lets it never go first.
    pub refused: Option<Degraded>,
}

/// The threads that go first.
#[derive(Debug)]
pub struct Precedence {
    shared: Arc<Shared>,
    watcher: Mutex<Option<Thread<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    members: Mutex<Vec<Member>>,
    is_over: Mutex<bool>,
    end: Condvar,
}

#[derive(Debug)]
struct Member {
    name: String,
    /// The kernel's number of the thread.
    id: i32,
    clock: CpuClock,
    /// How long it waited for its core, if this kernel keeps that.
    waits: Option<File>,
    before: Spent,
    credit: f64,
    is_first: bool,
    lost: u64,
    refused: Option<Degraded>,
}

/// What a thread has had of its core since it began.
#[derive(Clone, Copy, Debug)]
struct Spent {
    at: Instant,
    on_core: Duration,
    /// Ready to run while another did.
    waiting: Duration,
}

impl Precedence {
    /// Starts the watcher. Nobody goes first while `is_behind` says that work is behind which
    /// members must not hold up; it is asked at every look.
    ///
    /// # Errors
    /// [`MachineError::Spawn`] when the kernel starts no thread.
    pub fn start(is_behind: impl Fn() -> bool + Send + 'static) -> Result<Self, MachineError> {
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let spec = ThreadSpec { name: "precedence".to_owned(), ..ThreadSpec::default() };
        let watcher = spawn(spec, move |_placement| {
            // Where this is refused nobody goes first either.
            let _ = system_calls::set_real_time(0, WATCHER);
            own.watch(&is_behind);
        })?;
        Ok(Self { shared, watcher: Mutex::new(Some(watcher)) })
    }

    /// Lets the calling thread go first, or says why the kernel refuses that; the thread then goes
    /// on as it was.
    pub fn join(&self) -> Option<Degraded> {
        let name = std::thread::current().name().map(kernel_name).unwrap_or_default().to_owned();
        let id = system_calls::thread_id();
        let clock = CpuClock::of_this_thread();
        let waits = File::open(format!("/proc/self/task/{id}/schedstat")).ok();
        let before = match spent(clock, waits.as_ref()) {
            Ok(before) => before,
            Err(error) => return Some(Degraded::new("clock_gettime", &error)),
        };
        let refused = system_calls::set_real_time(0, MEMBER).err();
        let refused = refused.map(|error| Degraded::new("sched_setscheduler", &error));
        self.shared.members().push(Member {
            name,
            id,
            clock,
            waits,
            before,
            credit: CREDIT_MAX,
            is_first: refused.is_none(),
            lost: 0,
            refused,
        });
        refused
    }

    /// The members, in the order in which they joined; those that ended are missing.
    pub fn members(&self) -> Vec<Standing> {
        let standing = |member: &Member| Standing {
            name: member.name.clone(),
            is_first: member.is_first,
            lost: member.lost,
            refused: member.refused,
        };
        self.shared.members().iter().map(standing).collect()
    }

    /// Ends the watcher. Members that still run keep what they have.
    ///
    /// # Errors
    /// [`MachineError::Panicked`] when it did.
    pub fn close(&self) -> Result<(), MachineError> {
        *self.shared.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.end.notify_all();
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        watcher.map_or(Ok(()), Thread::join)
    }
}

impl Drop for Precedence {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

impl Shared {
    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, is_behind: &dyn Fn() -> bool) {
        loop {
            let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.end.wait_timeout_while(is_over, LOOK, |is_over| !*is_over);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
            let is_behind = is_behind();
            // One that cannot be read any more has ended.
            self.members().retain_mut(|member| member.look(is_behind).is_ok());
        }
    }
}

impl Member {
    fn look(&mut self, is_behind: bool) -> io::Result<()> {
        let now = spent(self.clock, self.waits.as_ref())?;
        self.credit = credit(self.credit, self.before, now);
        self.before = now;
        let wanted = !is_behind && goes_first(self.is_first, self.credit);
        let goes_first = self.refused.is_none() && wanted;
        if goes_first == self.is_first {
            return Ok(());
        }
        if goes_first {
            system_calls::set_real_time(self.id, MEMBER)?;
        } else {
            system_calls::set_normal_scheduling(self.id)?;
            self.lost += 1;
        }
        self.is_first = goes_first;
        Ok(())
    }
}

/// Whether a member with this credit goes first.
fn goes_first(is_first: bool, credit: f64) -> bool {
    if is_first { credit > 0.0 } else { credit >= CREDIT_AGAIN }
}

/// The credit after a look: what the member left to others, less what is theirs. It left the time
/// in which it did not want its core.
fn credit(credit: f64, before: Spent, now: Spent) -> f64 {
    let passed = now.at.saturating_duration_since(before.at).as_secs_f64();
    let on_core = now.on_core.saturating_sub(before.on_core);
    let waiting = now.waiting.saturating_sub(before.waiting);
    let left = passed - (on_core + waiting).as_secs_f64();
    (credit + left - LEFT * passed).clamp(0.0, CREDIT_MAX)
}

fn spent(clock: CpuClock, waits: Option<&File>) -> io::Result<Spent> {
    let on_core = clock.read()?;
    let waiting = waits.map_or(Ok(Duration::ZERO), read_wait)?;
    Ok(Spent { at: Instant::now(), on_core, waiting })
}

/// The second number of /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst).
fn read_wait(file: &File) -> io::Result<Duration> {
    let mut line = [0; 96];
    let count = file.read_at(&mut line, 0)?;
    let text = str::from_utf8(&line[..count]).unwrap_or_default();
    let nanoseconds = text.split(' ').nth(1).and_then(|number| number.parse().ok());
    Ok(Duration::from_nanos(nanoseconds.unwrap_or(0)))
}

#[cfg(test)]
mod tests;
