//! Owns the seam through which a kernel asks other cores of the node for help.
//!
//! Refuses to know threads. Bound: `parts` calls, all ended when `run` returns.

use std::sync::{Mutex, PoisonError};

/// Most parts of [`run_each`].
pub const EACH_MAX: usize = 16;

/// Cores that work on one task together.
pub trait Team: Sync {
    /// How many parts a task is worth dividing into that takes one core about so many nanoseconds;
    /// 1 means that dividing is a waste, and the caller then goes without [`Self::run`].
    fn parts(&self, nanos: usize) -> usize;

    /// Calls `task` once for each number below `parts`, on this thread and possibly on others, and
    /// returns when all have ended.
    fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync));
}

/// A team of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Team for Alone {
    fn parts(&self, _nanos: usize) -> usize {
        1
    }

    fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..parts).for_each(task);
    }
}

/// Calls `task` once with each of the first [`EACH_MAX`] parts, as [`Team::run`] does.
pub fn run_each<P: Send>(team: &dyn Team, parts: impl Iterator<Item = P>, task: impl Fn(P) + Sync) {
    let slots = [const { Mutex::new(None) }; EACH_MAX];
    let mut count = 0;
    for (slot, part) in slots.iter().zip(parts) {
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(part);
        count += 1;
    }
    team.run(count, &|index| {
        let part = slots[index].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(part) = part {
            task(part);
        }
    });
}
