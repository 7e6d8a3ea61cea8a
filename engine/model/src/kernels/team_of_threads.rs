//! Owns the meeting of a thread that has large work with threads that have none.
//!
//! Each thread has a seat. An idle thread offers its seat; a thread with work puts a pointer to it
//! into offered seats, works itself, takes the pointers back that nobody has taken, and waits for
//! those who have. So a busy thread is never waited for, and two that work never wait for each
//! other: only an idle one can be asked.
//! Refuses to know who sleeps and how he is woken: the caller brings a function for that.
//! Bound: one word per seat, the first 128 seats are asked; a pointer to work lives at most as long
//! as the `run` that made it.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Team;

/// How often a seat is looked at before its thread goes to sleep: some tens of microseconds, the
/// time between two parallel steps of one program.
const SPIN_COUNT: usize = 2_000;
/// How often the end of the others' work is looked for before the core is given away.
const JOIN_SPIN_COUNT: usize = 20_000;

/// The work of one `run`, on the stack of its thread.
struct Job {
    /// The task, with its lifetime taken off: see the safety of `run`.
    task: *const (dyn Fn(usize) + Sync),
    next: AtomicUsize,
    parts: usize,
    /// The seat of the thread that has the work.
    owner: usize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Job {
    /// Takes parts until none is left.
    fn work(&self) {
        let worked = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let part = self.next.fetch_add(1, Ordering::Relaxed);
                if part >= self.parts {
                    return;
                }
                // SAFETY: whoever calls `work` is the owner inside `run`, or a helper whom `run`
                // waits for; until then the borrowed task is alive, and it is `Sync`.
                let task = unsafe { &*self.task };
                task(part);
            }
        }));
        if let Err(panic) = worked {
            // The other parts are of no use any more.
            self.next.store(self.parts, Ordering::Relaxed);
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(panic);
        }
    }
}

/// What stands in a seat whose thread is busy.
fn away() -> *mut Job {
    std::ptr::null_mut()
}

/// What stands in a seat whose thread is idle: an address that no job has.
fn idle() -> *mut Job {
    std::ptr::without_provenance_mut(1)
}

#[derive(Debug)]
struct Seat {
    /// [`away`], [`idle`], or the work that its thread is asked to join.
    word: AtomicPtr<Job>,
    /// How many helpers have ended work of this seat's thread, ever.
    ended: AtomicUsize,
    /// Whether its thread has work for others right now.
    leads: AtomicBool,
}

/// The seats of the threads that may help each other: those of one NUMA node.
#[derive(Debug)]
pub struct Seats {
    seats: Box<[Seat]>,
    idle: AtomicUsize,
}

impl Seats {
    /// Seats for `count` threads, all busy.
    pub fn new(count: usize) -> Self {
        let seat = |_| Seat {
            word: AtomicPtr::new(away()),
            ended: AtomicUsize::new(0),
            leads: AtomicBool::new(false),
        };
        Self { seats: (0..count).map(seat).collect(), idle: AtomicUsize::new(0) }
    }

    /// How many threads are idle.
    pub fn idle_count(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }

    /// The thread of a seat is idle from now on.
    pub fn offer(&self, seat: usize) {
        let Some(seat) = self.seats.get(seat) else { return };
        let changed =
            seat.word.compare_exchange(away(), idle(), Ordering::AcqRel, Ordering::Acquire);
        if changed.is_ok() {
            self.idle.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether somebody has put work into a seat, so that its thread should look.
    pub fn is_asked(&self, seat: usize) -> bool {
        let Some(seat) = self.seats.get(seat) else { return false };
        let word = seat.word.load(Ordering::Acquire);
        word != away() && word != idle()
    }

    /// The thread of a seat is busy from now on. Work that stands in it is joined first if
    /// `helps`, and given back if not. Returns whether there was work.
    pub fn leave(&self, seat: usize, helps: bool) -> bool {
        let Some(seat) = self.seats.get(seat) else { return false };
        let found = seat.word.swap(away(), Ordering::AcqRel);
        if found == away() {
            return false;
        }
        if found == idle() {
            self.idle.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        // SAFETY: the swap took the pointer out of the seat, so the owner fails to take it back
        // and waits in `run` until `ended` is counted below; until then its job is alive.
        let owner = unsafe {
            if helps {
                (*found).work();
            }
            (*found).owner
        };
        // The last use of the job comes before this; the owner reads it with `Acquire`.
        self.seats[owner].ended.fetch_add(1, Ordering::Release);
        true
    }

    /// Looks at a seat for a while; returns whether it was asked or `stops` became true.
    pub fn spin(&self, seat: usize, stops: impl Fn() -> bool) -> bool {
        for _ in 0..SPIN_COUNT {
            if self.is_asked(seat) || stops() {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }
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

    /// Puts the job into idle seats; returns which.
    fn ask(&self, job: *mut Job, wanted: usize) -> u128 {
        let mut asked = 0;
        let mut count = 0;
        for (index, seat) in self.seats.seats.iter().enumerate().take(u128::BITS as usize) {
            if count == wanted {
                break;
            }
            let put = seat.word.compare_exchange(idle(), job, Ordering::AcqRel, Ordering::Relaxed);
            if put.is_ok() {
                self.seats.idle.fetch_sub(1, Ordering::Relaxed);
                asked |= 1 << index;
                count += 1;
                // Should it panic, the thread sleeps on and the job is taken back.
                let _ = catch_unwind(AssertUnwindSafe(|| (self.wake)(index)));
            }
        }
        asked
    }

    /// Takes the job out of the seats where it still stands; returns how many have taken it.
    fn take_back(&self, job: *mut Job, asked: u128) -> usize {
        let seats = self.seats.seats.iter().enumerate().take(u128::BITS as usize);
        let seats = seats.filter(|(index, _)| asked & (1 << index) != 0);
        let taken = seats.filter(|(_, seat)| {
            let back = seat.word.compare_exchange(job, idle(), Ordering::AcqRel, Ordering::Relaxed);
            if back.is_ok() {
                self.seats.idle.fetch_add(1, Ordering::Relaxed);
            }
            back.is_err()
        });
        taken.count()
    }
}

impl Team for TeamOfThreads<'_> {
    fn size(&self) -> usize {
        (1 + self.seats.idle_count()).min(self.size_max)
    }

    fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync)) {
        let me = self.seats.seats.get(self.me);
        let wanted = parts.min(self.size()).saturating_sub(1);
        // A task that asks for help itself gets none: its thread's seat leads already.
        let leads = me.filter(|me| wanted > 0 && !me.leads.swap(true, Ordering::Acquire));
        let Some(me) = leads else {
            (0..parts).for_each(task);
            return;
        };
        let ended_before = me.ended.load(Ordering::Acquire);
        // SAFETY: only the lifetime changes. The pointer is used by `Job::work` alone, called
        // below and by helpers that took the job out of a seat; this function returns, or goes on
        // with a panic, only after it has taken the job back from all other seats and has seen
        // each of these helpers count itself as ended.
        let task = unsafe {
            std::mem::transmute::<
                *const (dyn Fn(usize) + Sync + '_),
                *const (dyn Fn(usize) + Sync + 'static),
            >(std::ptr::from_ref(task))
        };
        let mut job =
            Job { task, next: AtomicUsize::new(0), parts, owner: self.me, panic: Mutex::default() };
        let shared: *mut Job = &raw mut job;
        let asked = self.ask(shared, wanted);
        // SAFETY: the job lives in this frame; from here on it is used through shared references
        // only, here as in the helpers.
        unsafe { (*shared).work() };
        let taken = self.take_back(shared, asked);
        let mut spins = 0;
        while me.ended.load(Ordering::Acquire).wrapping_sub(ended_before) < taken {
            match spins < JOIN_SPIN_COUNT {
                true => std::hint::spin_loop(),
                false => std::thread::yield_now(),
            }
            spins += 1;
        }
        me.leads.store(false, Ordering::Release);
        // SAFETY: as above; no helper has the job any more.
        let panic =
            unsafe { (*shared).panic.lock().unwrap_or_else(PoisonError::into_inner).take() };
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
