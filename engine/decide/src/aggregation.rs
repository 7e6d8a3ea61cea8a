//! Owns the aggregators: which updates of federated clients count, by how much, and how the
//! reduced update is applied.
//!
//! Refuses to see a tensor: it reads facts about the updates and returns a plan. Bound: memory
//! linear in the updates; time too, besides multi-Krum, which sorts a row of distances for each.

use serde::{Deserialize, Serialize};

mod plan;

pub use plan::{Adaptive, Outcome, Plan, Reducer, Refusal, ServerOptimizer};

/// Which aggregator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The mean weighted by examples (McMahan et al., 2017).
    #[default]
    Fedavg,
    /// Asynchronous: as many updates as the buffer holds, whenever they come, each weighted by
    /// 1/sqrt(1 + staleness) (Nguyen et al., 2022).
    Fedbuff,
    /// `fedavg` applied by Adam (Reddi et al., 2021).
    Fedadam,
    /// `fedavg` applied by Yogi (the same).
    Fedyogi,
    /// `fedavg` applied with momentum (Hsu et al., 2019).
    Fedavgm,
    /// The median of each coordinate (Yin et al., 2018).
    Median,
    /// The mean of each coordinate without its extremes (Yin et al., 2018).
    TrimmedMean,
    /// The mean of the updates with the nearest neighbours (Blanchard et al., 2017).
    MultiKrum,
}

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which aggregator.
    pub policy: Policy,
    /// `fedbuff`: updates of one aggregation; the guide's 5.
    pub buffer: u32,
    /// `fedbuff`: rounds after which an update is too old; the guide's 5. The others take none
    /// that is not of the current round.
    pub staleness_max: u32,
    /// Updates with which a round may end early; with fewer the model is kept.
    pub updates_min: u32,
    /// `trimmed-mean`: share cut from each end of a coordinate, above 0 and below 0.5.
    pub trim_share: f32,
    /// `multi-krum`: share of the updates that may be hostile, from 0 to below 0.5.
    pub hostile_share: f32,
    /// The server's learning rate. 0.01 where the optimiser is adaptive, 1 elsewhere, if absent.
    pub learning_rate: Option<f32>,
    /// `fedavgm`: the momentum.
    pub momentum: f32,
    /// `fedadam` and `fedyogi`: decay of the first moment.
    pub beta1: f32,
    /// `fedadam` and `fedyogi`: decay of the second moment.
    pub beta2: f32,
    /// `fedadam` and `fedyogi`: what keeps the denominator from zero.
    pub tau: f32,
    /// Updates longer than this are shortened to it; 0 leaves them.
    pub clip_norm: f32,
    /// Noise as a multiple of `clip_norm`; 0 adds none.
    pub noise_multiplier: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::Fedavg,
            buffer: 5,
            staleness_max: 5,
            updates_min: 1,
            trim_share: 0.2,
            hostile_share: 0.2,
            learning_rate: None,
            momentum: 0.9,
            beta1: 0.9,
            beta2: 0.99,
            tau: 1e-3,
            clip_norm: 0.0,
            noise_multiplier: 0.0,
        }
    }
}

impl Settings {
    /// Reads the text of one JSON object.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    pub fn parse(json: &str) -> Result<Self, String> {
        let settings: Self = crate::parse(json)?;
        let decay = |value: f32| (0.0..1.0).contains(&value);
        let above_zero = |value: f32| value.is_finite() && value > 0.0;
        let at_least_zero = |value: f32| value.is_finite() && value >= 0.0;
        let rules = [
            (settings.buffer >= 1, "`buffer` must be at least 1"),
            (settings.updates_min >= 1, "`updates_min` must be at least 1"),
            (
                settings.trim_share > 0.0 && settings.trim_share < 0.5,
                "`trim_share` must be above 0 and below 0.5",
            ),
            (
                (0.0..0.5).contains(&settings.hostile_share),
                "`hostile_share` must be from 0 to below 0.5",
            ),
            (
                settings.learning_rate.is_none_or(above_zero),
                "`learning_rate` must be a number above 0",
            ),
            (decay(settings.momentum), "`momentum` must be from 0 to below 1"),
            (decay(settings.beta1), "`beta1` must be from 0 to below 1"),
            (decay(settings.beta2), "`beta2` must be from 0 to below 1"),
            (above_zero(settings.tau), "`tau` must be a number above 0"),
            (at_least_zero(settings.clip_norm), "`clip_norm` must be a number from 0"),
            (at_least_zero(settings.noise_multiplier), "`noise_multiplier` must be from 0"),
            (
                settings.noise_multiplier == 0.0 || settings.clip_norm > 0.0,
                "`noise_multiplier` needs a `clip_norm` above 0: noise hides a bounded update only",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err((*message).to_owned()),
            None => Ok(settings),
        }
    }

    /// Which facts that cost a pass over all updates [`make_plan`] reads.
    pub fn wanted(&self) -> CostlyFacts {
        CostlyFacts { cosines: false, squared_distances: self.policy == Policy::MultiKrum }
    }
}

/// Facts that cost the host a pass over all updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CostlyFacts {
    /// [`Updates::cosines`].
    pub cosines: bool,
    /// [`Updates::squared_distances`].
    pub squared_distances: bool,
}

/// Where the training stands, as `aggregation.wit` describes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// The round that is being collected, from 1.
    pub round: u64,
    /// The time, milliseconds since 1970.
    pub now_ms: u64,
    /// Coordinates of the model.
    pub parameters: u64,
    /// Clients that were asked.
    pub clients_asked: u32,
    /// Updates accepted so far.
    pub buffered: u32,
}

/// One update as it arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The client.
    pub client: u32,
    /// Rounds finished since it got its model.
    pub staleness: u32,
    /// Examples it trained on.
    pub samples: u64,
    /// Euclidean length.
    #[serde(with = "crate::number")]
    pub l2_norm: f32,
    /// Its mean loss; NaN if unknown.
    #[serde(with = "crate::number")]
    pub train_loss: f32,
}

/// What becomes of an update.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admission {
    /// It is kept.
    Accept,
    /// It is refused, for this reason.
    Refuse(String),
    /// It is kept, and the round is complete.
    AcceptAndAggregate,
}

/// The updates of a round as columns.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Updates {
    /// The clients.
    pub clients: Vec<u32>,
    /// Rounds finished since each got its model.
    pub staleness: Vec<u32>,
    /// Examples each trained on.
    pub samples: Vec<u64>,
    /// Euclidean lengths.
    #[serde(with = "crate::number::list")]
    pub l2_norms: Vec<f32>,
    /// Mean losses.
    #[serde(with = "crate::number::list")]
    pub train_losses: Vec<f32>,
    /// Cosine with the mean of all; may be empty.
    #[serde(with = "crate::number::list")]
    pub cosines: Vec<f32>,
    /// Squared distances between each two, row by row; may be empty.
    #[serde(with = "crate::number::list")]
    pub squared_distances: Vec<f32>,
}

impl Updates {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    fn is_even(&self) -> bool {
        let n = self.len();
        let lengths = [
            self.staleness.len(),
            self.samples.len(),
            self.l2_norms.len(),
            self.train_losses.len(),
        ];
        let optional = |found: usize, full: usize| found == 0 || found == full;
        lengths.iter().all(|&length| length == n)
            && optional(self.cosines.len(), n)
            && optional(self.squared_distances.len(), n.saturating_mul(n))
    }
}

/// Decides about an update that has arrived.
pub fn admit(settings: &Settings, round: &Round, update: &Update) -> Admission {
    let is_buffered = settings.policy == Policy::Fedbuff;
    let staleness_max = if is_buffered { settings.staleness_max } else { 0 };
    if update.staleness > staleness_max {
        let stale = update.staleness;
        return Admission::Refuse(format!("{stale} rounds old, more than {staleness_max}"));
    }
    if let Some(reason) = fault(update.samples, update.l2_norm) {
        return Admission::Refuse(reason.to_owned());
    }
    let complete = if is_buffered { settings.buffer } else { round.clients_asked.max(1) };
    if round.buffered.saturating_add(1) >= complete {
        Admission::AcceptAndAggregate
    } else {
        Admission::Accept
    }
}

/// Why an update cannot have a part in any aggregation.
fn fault(samples: u64, l2_norm: f32) -> Option<&'static str> {
    match () {
        () if !l2_norm.is_finite() => Some("the update is not finite"),
        () if samples == 0 => Some("trained on no examples"),
        () => None,
    }
}

/// Plans the aggregation of a round.
///
/// # Errors
/// What is wrong with the columns.
pub fn make_plan(settings: &Settings, updates: &Updates) -> Result<Outcome, String> {
    if !updates.is_even() {
        return Err("the columns of the updates differ in length".to_owned());
    }
    let mut refused = Vec::new();
    let mut taken = Vec::with_capacity(updates.len());
    for index in 0..updates.len() {
        match fault(updates.samples[index], updates.l2_norms[index]) {
            Some(reason) => refused.push(Refusal::new(index, reason.to_owned())),
            None => taken.push(index),
        }
    }
    if taken.len() < settings.updates_min as usize || taken.is_empty() {
        let (found, least) = (taken.len(), settings.updates_min.max(1));
        return Ok(Outcome::KeepModel(format!("{found} usable updates, fewer than {least}")));
    }
    plan::with(settings, updates, &taken, refused)
}

#[cfg(test)]
mod tests;
