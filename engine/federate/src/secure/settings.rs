//! Owns what the operator may set about secure aggregation.
//!
//! Refuses to know rounds, which are checked with it elsewhere. Bound: each has its limits.

use serde::{Deserialize, Serialize};

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecureSettings {
    /// Share of the clients of a round who are needed to take the masks off, above a half.
    pub threshold: f64,
    /// Largest value of an update; what is beyond is cut to it.
    pub range: f32,
    /// How long a round waits for keys, for shares, and for the answers that take masks off,
    /// seconds each.
    pub step_s: u32,
}

impl Default for SecureSettings {
    fn default() -> Self {
        Self { threshold: 0.67, range: 1.0, step_s: 60 }
    }
}

impl SecureSettings {
    /// Checks the limits.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn check(&self) -> Result<(), String> {
        let rules = [
            (
                self.threshold > 0.5 && self.threshold <= 1.0,
                "`threshold` must be above 0.5 and at most 1: with half of the clients and less \
                 two lists could be answered, and both secrets of a client be told",
            ),
            (self.range > 0.0 && self.range.is_finite(), "`range` must be a number above 0"),
            ((1..=3_600).contains(&self.step_s), "`step_s` must be from 1 to 3600"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err((*message).to_owned()),
            None => Ok(()),
        }
    }

    /// How many of so many clients are needed.
    pub(crate) fn needed(&self, clients: usize) -> usize {
        let share = (self.threshold * clients as f64).ceil() as usize;
        share.max(clients / 2 + 1).max(2)
    }
}
