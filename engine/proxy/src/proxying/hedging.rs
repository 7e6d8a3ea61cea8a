//! Owns what a request's way upstream is where two servers are asked at once: when the second one
//! is, which of the two is meant, and what becomes known of the one whose answer is not taken.
//!
//! Refuses to know which one that is. Bound: two attempts, once for each request.

use std::net::SocketAddr;
use std::time::Duration;

use pingora_core::Error;

use super::{Proxying, status_of};
use crate::upstream::group::{Ask, Lease};

/// The other one of two attempts.
pub(super) struct Beside {
    lease: Lease,
    at: usize,
}

impl Proxying {
    /// After how long a second server is asked, if one may be.
    pub(crate) fn hedges_after(&self) -> Option<Duration> {
        let hedge = self.group.spec.hedge.as_ref()?;
        self.hedge_at.is_none().then_some(hedge.after)
    }

    /// The number of the attempt that was made last.
    pub(crate) fn last(&self) -> usize {
        self.made.len().saturating_sub(1)
    }

    /// The address of a second server that is asked beside the first one.
    pub(crate) fn hedge(&mut self, thread: usize, now_us: u64) -> Option<SocketAddr> {
        let may = self.attempts <= self.group.spec.retries && self.in_time().is_ok();
        if self.hedge_at.is_some() || !may {
            return None;
        }
        let ask = Ask { thread, now_us, key: self.key, tried: self.tried };
        let others = self.group.others(&ask);
        if others == 0 || !self.group.may_hedge() {
            return None;
        }
        let place = self.group.pick_among(others, &ask)?;
        let address = self.group.servers.get(place)?.address()?;
        self.group.stats.hedges.add(1);
        let lease = self.begin(place, &ask);
        let at = self.last();
        self.hedge_at = Some(at);
        self.beside = Some(Beside { lease, at });
        Some(address)
    }

    /// From here on attempt `at` is meant, if it is one of two.
    fn turn_to(&mut self, at: usize) {
        if self.beside.as_ref().is_some_and(|beside| beside.at == at) {
            self.swap();
        }
    }

    /// Means the other attempt. One that has no lease any more is forgotten.
    fn swap(&mut self) {
        if let Some(other) = self.beside.take() {
            let at = std::mem::replace(&mut self.at, other.at);
            let lease = self.lease.replace(other.lease);
            self.beside = lease.map(|lease| Beside { lease, at });
        }
    }

    /// Attempt `at` failed, with a connection that was made or kept or without one. The error says
    /// to try again where no other attempt is left, and another one may be made.
    pub(crate) fn attempt_failed(
        &mut self,
        at: usize,
        error: Box<Error>,
        was_kept: Option<bool>,
        now_us: u64,
    ) -> Box<Error> {
        self.turn_to(at);
        if self.beside.is_none() {
            return match was_kept {
                None => self.not_connected(error, now_us),
                Some(was_kept) => self.broke_off(error, true, was_kept, now_us),
            };
        }
        match was_kept {
            None => self.unconnected(status_of(&error), now_us),
            Some(was_kept) => self.broken(&error, was_kept, now_us),
        }
        self.swap();
        error
    }

    /// The answer of attempt `at`, which began at `began_us`, is taken. The other one, if it is
    /// still open, is over; `other` is the status of its answer and when that began, if it did.
    pub(crate) fn settle(
        &mut self,
        at: usize,
        began_us: u64,
        other: Option<(u16, u64)>,
        now_us: u64,
    ) {
        self.turn_to(at);
        self.answer_us = Some(began_us);
        if self.hedge_at == Some(at) {
            self.group.stats.hedges_won.add(1);
        }
        if let Some(beside) = self.beside.take() {
            if let Some(attempt) = self.made.get_mut(beside.at) {
                attempt.end_us = Some(now_us.saturating_sub(attempt.began_us));
                if let Some((status, at_us)) = other {
                    attempt.status = status;
                    attempt.header_us = Some(at_us.saturating_sub(attempt.began_us));
                }
            }
            match other {
                Some((_, at_us)) => beside.lease.answered(at_us),
                None => beside.lease.lost(now_us),
            }
        }
    }
}
