//! Owns the decision itself as a plain function, so that it is tested without a WASM host.
//!
//! Refuses to know the WIT types. Bound: constant time, no allocation outside of
//! [`Settings::parse`].

use serde::Deserialize;

/// What the operator may set. Everything has a default, so `{}` is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long the oldest request may be held back for a fuller batch, in microseconds. Half of
    /// the latency target is the most that is ever waited, so that the other half is left to run.
    pub wait_us: u32,
    /// With this many requests waiting nothing is held back. Absent means the model's limit.
    pub min_batch: Option<u32>,
}

impl Settings {
    /// Never wait: what is queued runs at once, and what arrives meanwhile runs together next.
    pub const ZERO_DELAY: Self = Self { wait_us: 0, min_batch: None };

    /// Reads the text of one JSON object. The error says what is wrong in words for the operator.
    pub fn parse(json: &str) -> Result<Self, String> {
        // serde would also read a list, as the settings in the order of their declaration.
        if !json.trim_start().starts_with('{') {
            return Err("the settings must be one JSON object".to_owned());
        }
        let settings: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if settings.min_batch == Some(0) {
            return Err("`min_batch` must be at least 1".to_owned());
        }
        Ok(settings)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::ZERO_DELAY
    }
}

/// The arguments of one `decide`, as `batching.wit` describes them.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Requests that wait now.
    pub queued: u32,
    /// How long the oldest of them has waited, in microseconds.
    pub oldest_us: u32,
    /// The most requests that the model runs together.
    pub batch_max: u32,
    /// The latency target of a request, in microseconds.
    pub target_us: u32,
}

/// How many requests to take now and, when that is 0, how many microseconds to wait.
pub fn decide(settings: Settings, moment: Moment) -> (u32, u32) {
    let enough = settings.min_batch.unwrap_or(u32::MAX).min(moment.batch_max);
    let patience_us = settings.wait_us.min(moment.target_us / 2);
    let left_us = patience_us.saturating_sub(moment.oldest_us);
    if moment.queued < enough && left_us > 0 {
        (0, left_us)
    } else {
        (moment.queued.min(moment.batch_max), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions() {
        let check = |json: &str, [queued, oldest_us, batch_max, target_us]: [u32; 4], expected| {
            let moment = Moment { queued, oldest_us, batch_max, target_us };
            assert_eq!(
                decide(Settings::parse(json).unwrap(), moment),
                expected,
                "{json} {moment:?}"
            );
        };
        // Without settings everything runs at once, up to the model's limit.
        check("{}", [1, 0, 32, 10_000], (1, 0));
        check("{}", [40, 0, 32, 10_000], (32, 0));
        // A wait ends when the oldest request has waited long enough, or the batch is full.
        check(r#"{"wait_us": 200}"#, [1, 0, 32, 10_000], (0, 200));
        check(r#"{"wait_us": 200}"#, [31, 150, 32, 10_000], (0, 50));
        check(r#"{"wait_us": 200}"#, [31, 200, 32, 10_000], (31, 0));
        check(r#"{"wait_us": 200}"#, [32, 0, 32, 10_000], (32, 0));
        check(r#"{"wait_us": 200}"#, [1, 0, 1, 10_000], (1, 0));
        // `min_batch` ends it sooner, and one above the model's limit means the limit.
        check(r#"{"wait_us": 200, "min_batch": 4}"#, [3, 0, 32, 10_000], (0, 200));
        check(r#"{"wait_us": 200, "min_batch": 4}"#, [4, 0, 32, 10_000], (4, 0));
        check(r#"{"wait_us": 200, "min_batch": 64}"#, [32, 0, 32, 10_000], (32, 0));
        // Half of the target is the most that is waited; without a target nothing is.
        check(r#"{"wait_us": 9000}"#, [1, 0, 32, 10_000], (0, 5_000));
        check(r#"{"wait_us": 9000}"#, [1, 0, 32, 0], (1, 0));
        check(r#"{"wait_us": 4294967295}"#, [1, 0, u32::MAX, u32::MAX], (0, u32::MAX / 2));
    }

    #[test]
    fn settings_that_are_refused() {
        let check = |json: &str, expected: &str| {
            let message = Settings::parse(json).unwrap_err();
            assert!(message.contains(expected), "{json}: {message}");
        };
        check("", "one JSON object");
        check("[1]", "one JSON object");
        check(r#"{"wait_us": 1"#, "EOF");
        check(r#"{"wait": 1}"#, "unknown field `wait`");
        check(r#"{"wait_us": -1}"#, "invalid value");
        check(r#"{"wait_us": "1"}"#, "invalid type");
        check(r#"{"min_batch": 0}"#, "at least 1");
        check("{} {}", "trailing characters");
    }
}
