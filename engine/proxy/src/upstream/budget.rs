//! Owns how many further attempts a group may make: a share of its requests, so that retries never
//! multiply the load of servers that fail under it.
//!
//! Refuses to know what is retried. Bound: one number.

use std::sync::atomic::{AtomicI64, Ordering};

/// One attempt, in thousandths.
const ATTEMPT: i64 = 1_000;
/// What is there to begin with, in attempts.
const RESERVE: i64 = 10;
/// The most that is saved up, in attempts.
const MOST: i64 = 100;

/// The budget of one group.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicI64,
    per_request: i64,
}

impl Budget {
    /// A budget of `percent` attempts for each hundred requests, and a few to begin with.
    pub(crate) fn new(percent: u32) -> Self {
        let reserve = if percent == 0 { 0 } else { RESERVE * ATTEMPT };
        Self { left: AtomicI64::new(reserve), per_request: i64::from(percent) * ATTEMPT / 100 }
    }

    /// Notes a request.
    pub(crate) fn earn(&self) {
        if self.left.load(Ordering::Relaxed) < MOST * ATTEMPT {
            self.left.fetch_add(self.per_request, Ordering::Relaxed);
        }
    }

    /// Takes one attempt, if there is one.
    pub(crate) fn take(&self) -> bool {
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            (left >= ATTEMPT).then(|| left - ATTEMPT)
        });
        taken.is_ok()
    }

    /// Gives back an attempt that was taken and not made.
    pub(crate) fn give_back(&self) {
        self.left.fetch_add(ATTEMPT, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_a_share_of_requests() {
        let budget = Budget::new(20);
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
        (0..50).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!((0..1_000).filter(|_| budget.take()).count(), 100);
        budget.give_back();
        assert!(budget.take() && !budget.take());
        assert!(!Budget::new(0).take());
    }
}
