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
    /// Empty where nothing was counted. It is a value wherever the policy is one: both have the
    /// same names.
    state: String,
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
        let mut state = String::new();
        for (part, excess) in limits.rates.iter().zip(verdict.excess) {
            let Some(excess) = excess else { continue };
            let left = (u64::from(part.burst) * 1_000).saturating_sub(excess) / 1_000;
            let reset_s = part.zone.rate().ms_to_drain(excess).div_ceil(1_000);
            push_state(&mut state, part.zone.name(), left, reset_s);
        }
        let retry_after_s = match verdict.outcome {
            Outcome::Rejected(wait_ms) if !limits.is_dry_run => Some(wait_ms.div_ceil(1_000)),
            _ => None,
        };
        Self::new(policy, state, retry_after_s)
    }

    /// Neither a policy without a state nor one that is no value.
    fn new(policy: Option<HeaderValue>, state: String, retry_after_s: Option<u64>) -> Self {
        match policy.filter(|_| !state.is_empty()) {
            Some(policy) => Self { policy: Some(policy), state, retry_after_s },
            None => Self { retry_after_s, ..Self::default() },
        }
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
        let mut state = String::new();
        for (part, used) in limits.days.iter().zip(taken.used) {
            let Some(used) = used else { continue };
            let left = part.at_most.saturating_sub(used);
            push_state(&mut state, part.zone.name(), left, taken.left_s);
        }
        Self::new(policy, state, taken.is_over.then_some(taken.left_s))
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
        let policy = match (self.policy, later.policy) {
            (Some(one), Some(other)) => {
                let both = [one.as_bytes(), b", ", other.as_bytes()].concat();
                HeaderValue::from_bytes(&both).ok()
            }
            (one, other) => one.or(other),
        };
        let state = match (self.state.is_empty(), later.state.is_empty()) {
            (true, _) => later.state,
            (false, true) => self.state,
            (false, false) => [&self.state, ", ", &later.state].concat(),
        };
        let retry_after_s = self.retry_after_s.max(later.retry_after_s);
        Self { policy, state, retry_after_s }
    }

    /// Adds them to an answer.
    pub(crate) fn write(&self, headers: &mut impl Headers) {
        if let Some(policy) = &self.policy {
            headers.set_text(&POLICY, policy.as_bytes());
        }
        if !self.state.is_empty() {
            headers.set_text(&STATE, self.state.as_bytes());
        }
        if let Some(seconds) = self.retry_after_s {
            let text = Digits::of(seconds);
            headers.set_text(&header::RETRY_AFTER, text.as_str().as_bytes());
        }
    }
}

/// Adds what is left by a zone, and when it has all again.
fn push_state(state: &mut String, zone: &str, left: u64, reset_s: u64) {
    state.reserve(zone.len() + 24);
    state.push_str(if state.is_empty() { "\"" } else { ", \"" });
    state.push_str(zone);
    state.push_str("\";r=");
    state.push_str(Digits::of(left).as_str());
    state.push_str(";t=");
    state.push_str(Digits::of(reset_s).as_str());
}

/// A number as text, without what `write!` costs: each answer has three of them.
struct Digits {
    digits: [u8; 20],
    first: usize,
}

impl Digits {
    fn of(mut number: u64) -> Self {
        let (mut digits, mut first) = ([0; 20], 20);
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, first };
            }
        }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[self.first..]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_whole() {
        for number in [0, 9, 10, 4_294_967_296, u64::MAX] {
            assert_eq!(Digits::of(number).as_str(), number.to_string());
        }
    }
}
