//! Owns what the operator may set about rounds.
//!
//! Refuses to know policies, which have settings of their own. Bound: each has its limits.

use serde::{Deserialize, Serialize};
use truststram_decide::aggregation;

use super::native::NativePolicy;
use crate::privacy::PrivacySettings;
use crate::secure::{CLIENTS_MAX, SecureSettings};

/// When the model is made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Some clients are asked at once, and waited for.
    #[default]
    Sync,
    /// Whoever asks gets work, and the model is made anew when the buffer is full.
    Buffered,
}

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoundSettings {
    /// When the model is made anew.
    pub mode: Mode,
    /// How long a round waits, seconds; the guide's 300.
    pub deadline_s: u32,
    /// Fewest clients of a round.
    pub clients_min: u32,
    /// Most clients of a round, and most at work where the mode is buffered; the guide's 100.
    pub clients_max: u32,
    /// How many times as many clients are asked as are waited for; 1 asks no more.
    pub over_selection: f64,
    /// Share of those waited for with whom a round ends at its deadline; with fewer the model is
    /// kept.
    pub quorum: f64,
    /// Rounds after which an update is too old, whatever the policy says; the guide's 5.
    pub staleness_max: u32,
    /// Most examples that one client may say it has trained on.
    pub examples_max: u64,
    /// After how many seconds without a word a client is not asked.
    pub absent_s: u32,
    /// Differential privacy of clients, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacySettings>,
    /// Secure aggregation, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure: Option<SecureSettings>,
}

impl Default for RoundSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Sync,
            deadline_s: 300,
            clients_min: 2,
            clients_max: 100,
            over_selection: 1.3,
            quorum: 0.5,
            staleness_max: 5,
            examples_max: 1_000_000,
            absent_s: 120,
            privacy: None,
            secure: None,
        }
    }
}

impl RoundSettings {
    /// Checks the limits.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn check(&self) -> Result<(), String> {
        let rules = [
            ((1..=86_400).contains(&self.deadline_s), "`deadline_s` must be from 1 to 86400"),
            (self.clients_min >= 1, "`clients_min` must be at least 1"),
            (
                (self.clients_min..=10_000).contains(&self.clients_max),
                "`clients_max` must be from `clients_min` to 10000",
            ),
            ((1.0..=4.0).contains(&self.over_selection), "`over_selection` must be from 1 to 4"),
            (self.quorum > 0.0 && self.quorum <= 1.0, "`quorum` must be above 0 and at most 1"),
            (self.staleness_max <= 1_000, "`staleness_max` must be at most 1000"),
            (self.examples_max >= 1, "`examples_max` must be at least 1"),
            ((1..=86_400).contains(&self.absent_s), "`absent_s` must be from 1 to 86400"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err((*message).to_owned()),
            None => {
                self.privacy.map_or(Ok(()), |privacy| self.check_privacy(&privacy))?;
                self.secure.map_or(Ok(()), |secure| self.check_secure(&secure))
            }
        }
    }

    fn check_secure(&self, secure: &SecureSettings) -> Result<(), String> {
        secure.check().map_err(|why| format!("secure: {why}"))?;
        let rules = [
            (
                self.mode == Mode::Sync,
                "`mode` must be \"sync\": masks cancel among the clients of one round",
            ),
            (
                self.asked(self.clients_max) as usize <= CLIENTS_MAX,
                "`clients_max` times `over_selection` must be at most 255, the shares of a secret",
            ),
            (self.clients_min >= 2, "`clients_min` must be at least 2: a sum of one hides nothing"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err(format!("secure: {message}")),
            None => Ok(()),
        }
    }

    fn check_privacy(&self, privacy: &PrivacySettings) -> Result<(), String> {
        privacy.check().map_err(|why| format!("privacy: {why}"))?;
        let rules = [
            (
                self.mode == Mode::Sync,
                "`mode` must be \"sync\": whoever comes to a buffer comes again and again, which \
                 no sampling rate accounts for",
            ),
            (
                self.over_selection == 1.0,
                "`over_selection` must be 1: where the quick ones alone count, who is left out \
                 depends on the others",
            ),
            (
                self.clients_max >= privacy.population,
                "`clients_max` must be at least `privacy.population`: a round takes all who are \
                 drawn",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err(format!("privacy: {message}")),
            None => Ok(()),
        }
    }

    /// Checks what the policies say together with this.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn check_policy(&self, policy: &NativePolicy) -> Result<(), String> {
        let aggregation = &policy.aggregation;
        if aggregation.noise_multiplier != 0.0 {
            return Err("aggregator: `noise_multiplier`: noise that no account counts protects \
                        nobody; set `rounds.privacy`"
                .to_owned());
        }
        let (section, reason) = match (self.secure, self.privacy) {
            (Some(_), _) => (
                "secure",
                "the server sees the sum of the updates alone, and such a rule looks at each of \
                 them",
            ),
            (None, Some(_)) => (
                "privacy",
                "one client may move its result by more than its own update, so that no noise \
                 hides it",
            ),
            (None, None) => return Ok(()),
        };
        let is_sum = matches!(
            aggregation.policy,
            aggregation::Policy::Fedavg
                | aggregation::Policy::Fedavgm
                | aggregation::Policy::Fedadam
                | aggregation::Policy::Fedyogi
        );
        if !is_sum {
            return Err(format!(
                "aggregator: `policy` {:?} does not go with `rounds.{section}`: {reason}; take \
                 fedavg, fedavgm, fedadam or fedyogi",
                aggregation.policy
            ));
        }
        if aggregation.clip_norm != 0.0 {
            return Err(format!(
                "aggregator: `clip_norm` does not go with `rounds.{section}`: it is \
                 `rounds.privacy.clip_norm` that shortens updates there"
            ));
        }
        Ok(())
    }

    /// Whether masked updates say if they were as short as the clip, which adapts.
    pub fn has_clip_bit(&self) -> bool {
        self.secure.is_some() && self.privacy.is_some_and(|privacy| privacy.clip_quantile.is_some())
    }

    /// How many are asked so that so many answer.
    pub(super) fn asked(&self, waited_for: u32) -> u32 {
        (f64::from(waited_for) * self.over_selection).ceil() as u32
    }

    /// With how many of those waited for a round ends at its deadline.
    pub(super) fn quorum_of(&self, waited_for: u32) -> usize {
        ((f64::from(waited_for) * self.quorum).ceil() as usize).max(1)
    }
}
