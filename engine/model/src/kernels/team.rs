//! Owns the seam through which a kernel asks other cores of the node for help.
//!
//! Refuses to know threads. Bound: `parts` calls, all ended when `run` returns.

/// Cores that work on one task together.
pub trait Team: Sync {
    /// How many cores would share the work, this one included; 1 means that dividing is a waste.
    fn size(&self) -> usize;

    /// Calls `task` once for each number below `parts`, on this thread and possibly on others, and
    /// returns when all have ended.
    fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync));
}

/// A team of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Team for Alone {
    fn size(&self) -> usize {
        1
    }

    fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..parts).for_each(task);
    }
}
