//! Owns the passage of a request through the limits of its listener or of its route.
//!
//! Refuses to wait and to answer; the caller does. Bound: one decision for each request.

use http::HeaderValue;
use truststram_base::Clock;

use crate::limit::{InFlight, LimitHeaders, Limits, Outcome, Subject};

/// What requests of one listener or route must pass.
pub(crate) struct Gate {
    limits: Limits,
    policy: Option<HeaderValue>,
    day_policy: Option<HeaderValue>,
    /// The status of those that are refused.
    pub(crate) status: u16,
}

/// Whether a request goes on.
pub(crate) enum Passage {
    Open { in_flight: InFlight, wait_ms: u64 },
    Closed,
}

impl Gate {
    /// A gate, unless there is nothing to ask.
    pub(crate) fn new(limits: Limits, status: u16) -> Option<Self> {
        let policy = LimitHeaders::policy(&limits);
        let day_policy = LimitHeaders::day_policy(&limits);
        (!limits.is_empty()).then_some(Self { limits, policy, day_policy, status })
    }

    /// Whether it may have a request wait.
    pub(crate) fn may_wait(&self) -> bool {
        self.limits.may_wait()
    }

    /// What the answer to a request says that is refused for its rate; `None`, with nothing
    /// counted, where it is not.
    pub(crate) fn refuses(&self, subject: &Subject<'_>, now_ms: u64) -> Option<LimitHeaders> {
        let verdict = self.limits.refuses(subject, now_ms)?;
        Some(LimitHeaders::of(&self.limits, self.policy.clone(), &verdict))
    }

    /// Decides about a request, and what its answer says of that.
    /// `clock` is asked for the day.
    pub(crate) fn pass(
        &self,
        subject: &Subject<'_>,
        now_ms: u64,
        clock: &dyn Clock,
    ) -> (LimitHeaders, Passage) {
        let verdict = self.limits.by_rate(subject, now_ms);
        let headers = LimitHeaders::of(&self.limits, self.policy.clone(), &verdict);
        let wait_ms = match verdict.outcome {
            Outcome::Rejected(_) if !self.limits.is_dry_run => return (headers, Passage::Closed),
            Outcome::Delayed(wait_ms) if !self.limits.is_dry_run => wait_ms,
            _ => 0,
        };
        let Some(in_flight) = self.limits.enter(subject) else {
            return (LimitHeaders::in_flight(), Passage::Closed);
        };
        if self.limits.days.is_empty() {
            return (headers, Passage::Open { in_flight, wait_ms });
        }
        let taken = self.limits.by_day(subject, clock.utc_us());
        let of_day = LimitHeaders::of_day(&self.limits, self.day_policy.clone(), &taken);
        let passage = match taken.is_over {
            true => Passage::Closed,
            false => Passage::Open { in_flight, wait_ms },
        };
        (headers.and(of_day), passage)
    }
}
