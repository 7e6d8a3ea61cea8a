//! Owns what answers say of limits: `RateLimit-Policy`, `RateLimit` (draft-ietf-httpapi-ratelimit-
//! headers) and `Retry-After`.
//!
//! Refuses to decide. Bound: one item for each zone of rates.

use std::fmt::Write;

use http::{HeaderName, HeaderValue, header};

use super::day::{DAY_S, DayUse, Taken};
use super::limiter::{Limits, Outcome, Verdict};
use crate::route::edit::Headers;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// The headers of one answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitHeaders {
    policy: Option<HeaderValue>,
    state: Option<HeaderValue>,
    retry_after_s: Option<u64>,
}

impl LimitHeaders {
    /// The policies of `limits`; made once, since they do not change.
    pub(crate) fn policy(limits: &Limits) -> Option<HeaderValue> {
        let mut text = String::new();
        for part in &limits.rates {
            let quota = u64::from(part.burst) + 1;
            // In this time a full bucket runs out, so that the quota is there again.
            let window_s = part.zone.rate().ms_to_drain(quota * 1_000).div_ceil(1_000).max(1);
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a `String` cannot fail, here and below.
            let _ = write!(text, "{comma}\"{}\";q={quota};w={window_s}", part.zone.name());
        }
        HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
    }

    pub(crate) fn of(limits: &Limits, policy: Option<HeaderValue>, verdict: &Verdict) -> Self {
        let mut text = String::new();
        for (part, excess) in limits.rates.iter().zip(verdict.excess) {
            let Some(excess) = excess else { continue };
            let left = (u64::from(part.burst) * 1_000).saturating_sub(excess) / 1_000;
            let reset_s = part.zone.rate().ms_to_drain(excess).div_ceil(1_000);
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}\"{}\";r={left};t={reset_s}", part.zone.name());
        }
        let retry_after_s = match verdict.outcome {
            Outcome::Rejected(wait_ms) if !limits.is_dry_run => Some(wait_ms.div_ceil(1_000)),
            _ => None,
        };
        let state = HeaderValue::try_from(text).ok().filter(|value| !value.is_empty());
        Self { policy: policy.filter(|_| state.is_some()), state, retry_after_s }
    }

    /// The policies of the days of `limits`; made once, as those above.
    pub(crate) fn day_policy(limits: &Limits) -> Option<HeaderValue> {
        let policy =
            |part: &DayUse| format!("\"{}\";q={};w={DAY_S}", part.zone.name(), part.at_most);
        let text = limits.days.iter().map(policy).collect::<Vec<String>>().join(", ");
        HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
    }

    /// What is left of days.
    pub(crate) fn of_day(limits: &Limits, policy: Option<HeaderValue>, taken: &Taken) -> Self {
        let mut text = String::new();
        for (part, used) in limits.days.iter().zip(taken.used) {
            let Some(used) = used else { continue };
            let comma = if text.is_empty() { "" } else { ", " };
            let (name, left) = (part.zone.name(), part.at_most.saturating_sub(used));
            let _ = write!(text, "{comma}\"{name}\";r={left};t={}", taken.left_s);
        }
        let state = HeaderValue::try_from(text).ok().filter(|value| !value.is_empty());
        let retry_after_s = taken.is_over.then_some(taken.left_s);
        Self { policy: policy.filter(|_| state.is_some()), state, retry_after_s }
    }

    /// Those of a request for which too many others are under way.
    pub(crate) fn in_flight() -> Self {
        Self::retry_after(1_000)
    }

    /// Those of a request that has room after so many milliseconds.
    pub(crate) fn retry_after(wait_ms: u64) -> Self {
        Self { retry_after_s: Some(wait_ms.div_ceil(1_000)), ..Self::default() }
    }

    /// These and those of limits that were asked after them.
    pub(crate) fn and(self, later: Self) -> Self {
        let both = |one: Option<HeaderValue>, other: Option<HeaderValue>| match (one, other) {
            (Some(one), Some(other)) => {
                let both = [one.as_bytes(), b", ", other.as_bytes()].concat();
                HeaderValue::from_bytes(&both).ok()
            }
            (one, other) => one.or(other),
        };
        Self {
            policy: both(self.policy, later.policy),
            state: both(self.state, later.state),
            retry_after_s: self.retry_after_s.max(later.retry_after_s),
        }
    }

    /// Adds them to an answer.
    pub(crate) fn write(&self, headers: &mut impl Headers) {
        if let Some(policy) = &self.policy {
            headers.set(&POLICY, policy.clone());
        }
        if let Some(state) = &self.state {
            headers.set(&STATE, state.clone());
        }
        if let Some(seconds) = self.retry_after_s {
            headers.set(&header::RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}
