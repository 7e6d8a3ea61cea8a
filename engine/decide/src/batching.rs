//! Owns the batchers: how many waiting requests run now, and how long to wait otherwise.
//!
//! Refuses to know clocks and queues: the caller describes the moment in numbers.
//! Bound: constant time, no allocation outside of [`Settings::parse`].

use serde::{Deserialize, Serialize};

/// Which batcher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// What is queued runs at once; what arrives meanwhile runs together next.
    #[default]
    Greedy,
    /// The oldest request is held back for a fuller batch, for as long as its target allows.
    Deadline,
}

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which batcher.
    pub policy: Policy,
    /// For `deadline`: how long the oldest request may be held back, in microseconds. Half of the
    /// latency target is the most that is ever waited, so that the other half is left to run.
    pub wait_us: u32,
    /// For `deadline`: with this many requests waiting nothing is held back. The model's limit if
    /// absent.
    pub min_batch: Option<u32>,
}

impl Settings {
    /// Nothing waits.
    pub const GREEDY: Self = Self { policy: Policy::Greedy, wait_us: u32::MAX, min_batch: None };

    /// Reads the text of one JSON object.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn parse(json: &str) -> Result<Self, String> {
        let settings: Self = crate::parse(json)?;
        if settings.min_batch == Some(0) {
            return Err("`min_batch` must be at least 1".to_owned());
        }
        let waits = settings.wait_us != Self::GREEDY.wait_us || settings.min_batch.is_some();
        if settings.policy == Policy::Greedy && waits {
            return Err("`wait_us` and `min_batch` belong to the policy `deadline`".to_owned());
        }
        Ok(settings)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::GREEDY
    }
}

/// The requests of one bucket that wait at one worker, as `batching.wit` describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// Which bucket of the model; 0 where all requests are of one size.
    pub bucket: u32,
    /// How many wait, at least 1.
    pub queued: u32,
    /// How long the oldest has waited, microseconds.
    pub oldest_us: u32,
    /// Most requests of one batch, at least 1.
    pub batch_max: u32,
    /// The latency target, microseconds; 0 allows no waiting.
    pub target_us: u32,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// How many run now, oldest first; 0 means wait.
    pub take: u32,
    /// For `take` 0: ask again after this many microseconds.
    pub wait_us: u32,
}

impl Decision {
    /// Whether it keeps the bounds that `batching.wit` states.
    pub fn is_within(self, moment: &Moment) -> bool {
        let runs = (1..=moment.queued.min(moment.batch_max)).contains(&self.take);
        let waits = self.take == 0 && (1..=moment.target_us).contains(&self.wait_us);
        runs || waits
    }
}

/// Decides for one moment.
pub fn decide(settings: &Settings, moment: &Moment) -> Decision {
    let enough = settings.min_batch.unwrap_or(u32::MAX).min(moment.batch_max);
    let patience_us = match settings.policy {
        Policy::Greedy => 0,
        Policy::Deadline => settings.wait_us.min(moment.target_us / 2),
    };
    let left_us = patience_us.saturating_sub(moment.oldest_us);
    if moment.queued < enough && left_us > 0 {
        return Decision { take: 0, wait_us: left_us };
    }
    Decision { take: moment.queued.min(moment.batch_max), wait_us: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions() {
        let check = |rest: &str, [queued, oldest_us, batch_max, target_us]: [u32; 4], expected| {
            let moment = Moment { bucket: 0, queued, oldest_us, batch_max, target_us };
            let settings = Settings::parse(rest).unwrap();
            let decision = decide(&settings, &moment);
            assert_eq!((decision.take, decision.wait_us), expected, "{rest} {moment:?}");
            assert!(decision.is_within(&moment));
        };
        // Without settings everything runs at once, up to the model's limit.
        check("{}", [1, 0, 32, 10_000], (1, 0));
        check("{}", [40, 0, 32, 10_000], (32, 0));
        // A wait ends when the oldest request has waited long enough, or the batch is full.
        let wait = r#"{"policy": "deadline", "wait_us": 200}"#;
        check(wait, [1, 0, 32, 10_000], (0, 200));
        check(wait, [31, 150, 32, 10_000], (0, 50));
        check(wait, [31, 200, 32, 10_000], (31, 0));
        check(wait, [32, 0, 32, 10_000], (32, 0));
        check(wait, [1, 0, 1, 10_000], (1, 0));
        // `min_batch` ends it sooner, and one above the model's limit means the limit.
        let four = r#"{"policy": "deadline", "wait_us": 200, "min_batch": 4}"#;
        check(four, [3, 0, 32, 10_000], (0, 200));
        check(four, [4, 0, 32, 10_000], (4, 0));
        check(&four.replace(": 4", ": 64"), [32, 0, 32, 10_000], (32, 0));
        // Half of the target is the most that is waited; without a target nothing is.
        check(r#"{"policy": "deadline"}"#, [1, 0, 32, 10_000], (0, 5_000));
        check(r#"{"policy": "deadline"}"#, [1, 0, 32, 0], (1, 0));
        check(r#"{"policy": "deadline"}"#, [1, 0, u32::MAX, u32::MAX], (0, u32::MAX / 2));
    }

    #[test]
    fn settings_that_are_refused() {
        let check = |json: &str, expected: &str| {
            let message = Settings::parse(json).unwrap_err();
            assert!(message.contains(expected), "{json}: {message}");
        };
        check("[]", "one JSON object");
        check(r#"{"wait": 1}"#, "unknown field `wait`");
        check(r#"{"policy": "lazy"}"#, "unknown variant `lazy`");
        check(r#"{"policy": "deadline", "min_batch": 0}"#, "at least 1");
        check(r#"{"wait_us": 5}"#, "belong to the policy `deadline`");
    }
}
