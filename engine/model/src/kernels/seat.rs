//! Owns the seat of a thread that may help others: one line of the cache, through which it is asked
//! for help, takes a part of the work, and tells its end.
//!
//! The word of a seat is a state and a number that counts the parts that were begun or refused, so
//! that whoever gave a part sees from the word alone what became of it.
//! Refuses to know work. Bound: one part at a time; a thread that claims a seat fills it at once.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::team_of_threads::Job;

/// What a seat's thread does, or is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has work of its own.
    Away,
    /// It is idle and sleeps, or is about to.
    Asleep,
    /// It is idle and looks at its seat.
    Looking,
    /// It is asked to look.
    Invited,
    /// Somebody is putting a part here.
    Claimed,
    /// A part is here.
    Asked,
    /// It works on the part.
    Working,
}

const STATES: [State; 7] = [
    State::Away,
    State::Asleep,
    State::Looking,
    State::Invited,
    State::Claimed,
    State::Asked,
    State::Working,
];
const STATE_BITS: u32 = 3;

/// A state and how many parts have left the seat.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(u64);

impl Word {
    fn new(ended: u64, state: State) -> Self {
        Self(ended << STATE_BITS | state as u64)
    }

    fn state(self) -> State {
        STATES[(self.0 as usize & ((1 << STATE_BITS) - 1)).min(STATES.len() - 1)]
    }

    fn ended(self) -> u64 {
        self.0 >> STATE_BITS
    }

    fn with(self, state: State) -> Self {
        Self::new(self.ended(), state)
    }
}

/// One part of a job. Whoever gives it keeps the job alive until it [`Seat::outcome`]s or is back.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub task: *const (dyn Fn(usize) + Sync),
    pub job: *const Job,
    pub index: usize,
    /// Whether the job may have parts that are nobody's.
    pub more: bool,
}

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The thread has it still.
    Begun,
    /// The thread has ended it, or refused it.
    Ended,
    /// Nobody has begun it, and nobody will.
    Back,
}

/// See the module. In a line of its own, and away from the line that processors fetch with it.
#[repr(align(128))]
pub(super) struct Seat {
    word: AtomicU64,
    part: UnsafeCell<Option<Part>>,
    /// Whether its thread has work for others right now.
    pub leads: AtomicBool,
    /// Works of its thread that were too small for sleepers.
    pub missed: AtomicUsize,
}

// SAFETY: `part` is written by the one who has changed the word to `Claimed`, and read by the
// thread of the seat after it has changed it from `Asked` to `Working`, which comes after that.
unsafe impl Sync for Seat {}
// SAFETY: a part may be worked on by any thread: its task is `Sync`, and so is a job.
unsafe impl Send for Seat {}

impl Seat {
    /// That of a busy thread.
    pub fn new() -> Self {
        Self {
            word: AtomicU64::new(Word::new(0, State::Away).0),
            part: UnsafeCell::new(None),
            leads: AtomicBool::new(false),
            missed: AtomicUsize::new(0),
        }
    }

    fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    pub fn state(&self) -> State {
        self.word().state()
    }

    /// Changes the state if it is still this one.
    pub fn change(&self, from: State, to: State) -> bool {
        let word = self.word();
        word.state() == from && self.exchange(word, to)
    }

    fn exchange(&self, word: Word, to: State) -> bool {
        let to = word.with(to).0;
        self.word.compare_exchange(word.0, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Puts a part into a seat of this state; returns by what it is known from then on: the number
    /// of those before it, of which the low bits are enough.
    pub fn give(&self, from: State, part: Part) -> Option<u32> {
        let word = self.word();
        if word.state() != from || !self.exchange(word, State::Claimed) {
            return None;
        }
        // SAFETY: the word is `Claimed` by this thread, so nobody else touches it.
        unsafe { *self.part.get() = Some(part) };
        self.word.store(word.with(State::Asked).0, Ordering::Release);
        Some(word.ended() as u32)
    }

    /// What became of a part that was given; takes it back where nobody has begun it, and leaves
    /// the seat in the state `idle` then.
    pub fn outcome(&self, known_by: u32, idle: State) -> Outcome {
        let word = self.word();
        match word.state() {
            _ if word.ended() as u32 != known_by => Outcome::Ended,
            State::Asked if self.exchange(word, idle) => Outcome::Back,
            _ => Outcome::Begun,
        }
    }

    /// Takes the part that is here; only for the thread of the seat, which must then
    /// [`Self::end`].
    pub fn begin(&self) -> Option<Part> {
        if !self.change(State::Asked, State::Working) {
            return None;
        }
        // SAFETY: the word was `Asked`, so the writing is over, and nobody claims a seat that is
        // `Working`.
        unsafe { *self.part.get() }
    }

    /// The last use of the part that was begun comes before this.
    pub fn end(&self, state: State) {
        let ended = self.word().ended().wrapping_add(1);
        self.word.store(Word::new(ended, state).0, Ordering::Release);
    }
}
