//! Owns the meeting of a thread that has large work with threads that have none.
//!
//! Each thread has a seat. An idle thread offers its seat; a thread with work puts parts of it into
//! offered seats, works itself, takes back what nobody has begun, and waits for those who have. So
//! a busy thread is never waited for, and two that work never wait for each other: only an idle one
//! can be asked. An idle thread sleeps, and its help begins microseconds after it was asked; one
//! that has just helped looks at its seat for a while, and helps at once. Work that is too small
//! for sleepers goes to those who look, and now and then invites a sleeper to do so.
//! Refuses to know who sleeps and how he is woken: the caller brings a function for that.
//! Bound: the first 128 seats are asked; a pointer to work lives at most as long as the `run` that
//! made it.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Team;
use super::seat::{Outcome, Part, Seat, State};

/// How often a seat is looked at before its thread goes to sleep: some tens of microseconds, the
/// time between two parallel steps of one program.
const SPIN_COUNT: usize = 2_000;
/// How often the end of the others' work is looked for before the core is given away.
const JOIN_SPIN_COUNT: usize = 20_000;
/// A part that takes less is not worth waking a thread.
const SLEEPER_NANOS_MIN: usize = 8_000;
/// A part that takes less is not worth asking a thread that looks at its seat: what is exchanged
/// takes about a microsecond between cores that share no cache.
const LOOKER_NANOS_MIN: usize = 1_500;
/// Every so many works that only a thread that looks could have helped with invite a sleeper.
const INVITES_EVERY: usize = 64;
/// Seats that are asked.
const ASKED_MAX: usize = u128::BITS as usize;
/// No part is nobody's yet.
const NONE: usize = usize::MAX / 2;

/// The work of one `run`, on the stack of its thread.
pub(super) struct Job {
    /// The first part that is nobody's, and how many there are.
    next: AtomicUsize,
    parts: usize,
    /// By index, a bit for each part that was refused.
    refused: [AtomicU64; ASKED_MAX / 64 + 1],
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Job {
    /// Does a part, and what is nobody's if there may be `more`.
    fn work(&self, task: &(dyn Fn(usize) + Sync), first: usize, more: bool) {
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let mut part = first;
            while part < self.parts {
                task(part);
                if !more {
                    return;
                }
                part = self.next.fetch_add(1, Ordering::Relaxed);
            }
        }));
        if let Err(panic) = worked {
            // The other parts are of no use any more.
            self.next.store(NONE, Ordering::Relaxed);
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(panic);
        }
    }

    fn refuse(&self, part: usize) {
        self.refused[part / 64].fetch_or(1 << (part % 64), Ordering::Relaxed);
    }

    fn is_refused(&self, part: usize) -> bool {
        self.refused[part / 64].load(Ordering::Relaxed) & (1 << (part % 64)) != 0
    }
}

/// The seats of the threads that may help each other: those of one NUMA node.
pub struct Seats {
    seats: Box<[Seat]>,
    /// Threads that have offered their seats, and those of them that are awake. Only the threads
    /// themselves change these, and not for each part, so that reading them costs little.
    idle: AtomicUsize,
    awake: AtomicUsize,
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.seats.iter().map(Seat::state)).finish()
    }
}

impl Seats {
    /// Seats for `count` threads, all busy.
    pub fn new(count: usize) -> Self {
        let seats = (0..count).map(|_| Seat::new()).collect();
        Self { seats, idle: AtomicUsize::new(0), awake: AtomicUsize::new(0) }
    }

    /// How many threads have offered their seats.
    pub fn idle_count(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }

    /// The thread of a seat is idle from now on, and goes to sleep unless it [`Self::is_asked`].
    pub fn offer(&self, seat: usize) {
        let Some(seat) = self.seats.get(seat) else { return };
        if seat.change(State::Away, State::Asleep) {
            self.idle.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether somebody wants something of a seat's thread, so that it should [`Self::help`].
    pub fn is_asked(&self, seat: usize) -> bool {
        let state = self.seats.get(seat).map(Seat::state);
        matches!(state, Some(State::Invited | State::Claimed | State::Asked))
    }

    /// The thread of a seat is busy from now on; a part that was put there is refused.
    pub fn leave(&self, seat: usize) {
        let Some(seat) = self.seats.get(seat) else { return };
        loop {
            match seat.state() {
                State::Away | State::Working => return,
                State::Claimed => std::hint::spin_loop(),
                State::Asked => {
                    if let Some(part) = seat.begin() {
                        refuse(seat, part);
                        break;
                    }
                }
                idle => {
                    if seat.change(idle, State::Away) {
                        break;
                    }
                }
            }
        }
        self.idle.fetch_sub(1, Ordering::Relaxed);
    }

    /// Does the part that a seat's thread was asked for and what comes soon after, until `stops`;
    /// the thread is busy then. Returns how often it helped.
    pub fn help(&self, seat: usize, stops: impl Fn() -> bool) -> usize {
        let Some(seat) = self.seats.get(seat) else { return 0 };
        if matches!(seat.state(), State::Away | State::Working) {
            return 0;
        }
        self.awake.fetch_add(1, Ordering::Relaxed);
        let (mut helped, mut spins) = (0, 0);
        loop {
            match seat.state() {
                State::Asked => {
                    // Or else it was taken back.
                    let Some(part) = seat.begin() else { continue };
                    if stops() {
                        refuse(seat, part);
                        break;
                    }
                    work(part);
                    // The owner's next step may follow at once.
                    seat.end(State::Looking);
                    (helped, spins) = (helped + 1, 0);
                }
                State::Looking if spins == SPIN_COUNT || stops() => {
                    if seat.change(State::Looking, State::Away) {
                        break;
                    }
                }
                State::Looking => {
                    spins += 1;
                    std::hint::spin_loop();
                }
                State::Claimed => std::hint::spin_loop(),
                other => {
                    seat.change(other, State::Looking);
                }
            }
        }
        self.awake.fetch_sub(1, Ordering::Relaxed);
        self.idle.fetch_sub(1, Ordering::Relaxed);
        helped
    }
}

/// Does a part that was begun.
fn work(part: Part) {
    // SAFETY: whoever gave the part waits in `run` until it has ended; until then the job and the
    // borrowed task are alive, and both are `Sync`.
    unsafe { (*part.job).work(&*part.task, part.index, part.more) };
}

/// Ends a part that was begun and leaves it to who gave it.
fn refuse(seat: &Seat, part: Part) {
    // SAFETY: as for `work`.
    unsafe { (*part.job).refuse(part.index) };
    seat.end(State::Away);
}

/// A thread that has work and the idle threads of its node.
pub struct TeamOfThreads<'a> {
    seats: &'a Seats,
    me: usize,
    size_max: usize,
    wake: &'a (dyn Fn(usize) + Sync),
}

impl<'a> TeamOfThreads<'a> {
    /// The team of the thread at seat `me`, which must be the calling one, of at most `size_max`
    /// threads. `wake` wakes the thread of a seat, in case it sleeps.
    pub fn new(
        seats: &'a Seats,
        me: usize,
        size_max: usize,
        wake: &'a (dyn Fn(usize) + Sync),
    ) -> Self {
        Self { seats, me, size_max, wake }
    }

    /// How many threads would share work that is worth any of them.
    pub fn size(&self) -> usize {
        (1 + self.seats.idle_count()).min(self.size_max).max(1)
    }

    fn seats(&self) -> impl Iterator<Item = (usize, &Seat)> {
        self.seats.seats.iter().enumerate().take(ASKED_MAX)
    }

    /// Puts parts from the second on into idle seats, first of those who look.
    fn ask(&self, part: Part, wanted: usize) -> Asked {
        let mut asked = Asked { given: [Given::default(); ASKED_MAX], count: 0 };
        let any_awake = self.seats.awake.load(Ordering::Relaxed) > 0;
        let idle = if any_awake { &[State::Looking, State::Asleep][..] } else { &[State::Asleep] };
        for idle in idle {
            for (index, seat) in self.seats() {
                if asked.count == wanted {
                    return asked;
                }
                let part = Part { index: 1 + asked.count, ..part };
                let Some(known_by) = seat.give(*idle, part) else { continue };
                let is_asleep = *idle == State::Asleep;
                asked.given[asked.count] = Given { seat: index as u8, is_asleep, known_by };
                asked.count += 1;
                if is_asleep {
                    self.wake(index);
                }
            }
        }
        asked
    }

    /// What became of a part.
    fn outcome(&self, given: &Given) -> Outcome {
        let idle = if given.is_asleep { State::Asleep } else { State::Looking };
        self.seats.seats[given.seat as usize].outcome(given.known_by, idle)
    }

    /// Does what nobody has begun, and waits for those who have.
    fn settle(&self, job: &Job, task: &(dyn Fn(usize) + Sync), asked: &Asked) {
        let mut begun = 0_u128;
        for (index, given) in asked.given[..asked.count].iter().enumerate() {
            match self.outcome(given) {
                Outcome::Back => job.work(task, 1 + index, false),
                Outcome::Begun => begun |= 1 << index,
                Outcome::Ended => {}
            }
        }
        let mut spins = 0;
        while begun != 0 {
            let index = begun.trailing_zeros() as usize;
            match self.outcome(&asked.given[index]) {
                Outcome::Begun if spins < JOIN_SPIN_COUNT => std::hint::spin_loop(),
                Outcome::Begun => std::thread::yield_now(),
                ended => {
                    if ended == Outcome::Back {
                        job.work(task, 1 + index, false);
                    }
                    begun &= begun - 1;
                }
            }
            spins += 1;
        }
        let refused = (1..=asked.count).filter(|part| job.is_refused(*part));
        refused.for_each(|part| job.work(task, part, false));
    }

    /// Should it panic, the thread sleeps on and what was put into its seat is taken back.
    fn wake(&self, seat: usize) {
        let _ = catch_unwind(AssertUnwindSafe(|| (self.wake)(seat)));
    }
}

/// A part that was put into a seat.
#[derive(Clone, Copy, Default)]
struct Given {
    seat: u8,
    is_asleep: bool,
    known_by: u32,
}

/// Who has the parts from the second on.
struct Asked {
    given: [Given; ASKED_MAX],
    count: usize,
}

impl TeamOfThreads<'_> {
    /// Notes work that only a thread that looks could have helped with.
    fn miss(&self) {
        let Some(me) = self.seats.seats.get(self.me) else { return };
        let missed = me.missed.load(Ordering::Relaxed).wrapping_add(1);
        me.missed.store(missed, Ordering::Relaxed);
        if missed.is_multiple_of(INVITES_EVERY)
            && let Some((index, _)) =
                self.seats().find(|(_, seat)| seat.change(State::Asleep, State::Invited))
        {
            self.wake(index);
        }
    }
}

impl Team for TeamOfThreads<'_> {
    fn parts(&self, nanos: usize) -> usize {
        let awake = 1 + self.seats.awake.load(Ordering::Relaxed);
        let of_awake = awake.min(self.size_max).min(nanos / LOOKER_NANOS_MIN);
        let parts = of_awake.max(self.size().min(nanos / SLEEPER_NANOS_MIN)).max(1);
        if parts == 1 && nanos >= 2 * LOOKER_NANOS_MIN && self.size() > 1 {
            self.miss();
        }
        parts
    }

    fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync)) {
        let me = self.seats.seats.get(self.me);
        let wanted = parts.min(self.size_max).min(ASKED_MAX).saturating_sub(1);
        // A task that asks for help itself gets none: its thread's seat leads already.
        let leads = me.filter(|me| wanted > 0 && !me.leads.swap(true, Ordering::Acquire));
        let Some(me) = leads else {
            (0..parts).for_each(task);
            return;
        };
        let job = Job {
            next: AtomicUsize::new(NONE),
            parts,
            refused: Default::default(),
            panic: Mutex::default(),
        };
        // SAFETY: only the lifetime changes. The pointer is used by `work` alone, in threads that
        // have begun a part; this function returns, or goes on with a panic, only after `settle`
        // has seen each part that was given back or ended, the last of which comes after all use.
        let borrowed = unsafe {
            std::mem::transmute::<
                *const (dyn Fn(usize) + Sync + '_),
                *const (dyn Fn(usize) + Sync + 'static),
            >(std::ptr::from_ref(task))
        };
        let part = Part { task: borrowed, job: &raw const job, index: 0, more: parts > 2 };
        let asked = self.ask(part, wanted);
        job.next.store(1 + asked.count, Ordering::Relaxed);
        job.work(task, 0, true);
        self.settle(&job, task, &asked);
        me.leads.store(false, Ordering::Release);
        let panic = job.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl fmt::Debug for TeamOfThreads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TeamOfThreads").field("me", &self.me).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
