//! Owns the tuners: which settings of the host or of the engine to change, one trial at a time.
//!
//! Refuses to know how a setting is read, written or taken back: the host makes the trial, holds it
//! to its bounds and says how it ended. Bound: n log n in the settings and linear in the facts and
//! metrics of the windows that are read; what is learnt has a limit that `tuning/state.rs` states.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod guide_host;
mod guide_runtime;
mod state;
mod step;

pub use state::{STATE_BYTES_MAX, State};

/// Which tuner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The guide's settings of the kernel, without those that are wrong: `tuning/guide_host.rs`.
    #[default]
    GuideHost,
    /// Hill climbing on the engine's own settings: `tuning/guide_runtime.rs`.
    GuideRuntime,
}

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which tuner.
    pub policy: Policy,
    /// How long a trial lasts, milliseconds, from 100 to one day.
    pub trial_ms: u32,
    /// Share of the objective that a trial may cost before it is taken back, from 0 to 1.
    /// `guide-runtime` allows no more than the objective scatters by itself, and at most this.
    pub loss_max: f64,
    /// Rounds for which a setting rests after a failed trial, from 1 to 1000; twice as many after
    /// each further failure. A round is a call of [`propose`] that could have led to a trial.
    pub rest_rounds: u32,
    /// `guide-runtime`: windows without a trial that must have been seen since the latest one, from
    /// 3 to 1000. These windows are the ones that are judged.
    pub windows_min: u32,
    /// `guide-runtime`: values that the fullest metric of each of these windows must have. Of 100
    /// values the 99th percentile is almost the largest (`facts/ops.md`, section 2).
    pub count_min: u64,
    /// `guide-runtime`: most that the objective may scatter over these windows, as its standard
    /// deviation over its mean, above 0 and at most 1.
    pub spread_max: f64,
    /// `guide-runtime`: the largest step as a share of the domain, above 0 and at most 0.5.
    pub step_share: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::GuideHost,
            trial_ms: 60_000,
            loss_max: 0.05,
            rest_rounds: 4,
            windows_min: 3,
            count_min: 100,
            spread_max: 0.1,
            step_share: 0.125,
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
        let up_to = |value: f64, most: f64| value > 0.0 && value <= most;
        let rules = [
            (
                (100..=86_400_000).contains(&settings.trial_ms),
                "`trial_ms` must be from 100 to 86400000, which is one day",
            ),
            ((0.0..=1.0).contains(&settings.loss_max), "`loss_max` must be from 0 to 1"),
            ((1..=1_000).contains(&settings.rest_rounds), "`rest_rounds` must be from 1 to 1000"),
            ((3..=1_000).contains(&settings.windows_min), "`windows_min` must be from 3 to 1000"),
            (up_to(settings.spread_max, 1.0), "`spread_max` must be above 0 and at most 1"),
            (up_to(settings.step_share, 0.5), "`step_share` must be above 0 and at most 0.5"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err((*message).to_owned()),
            None => Ok(settings),
        }
    }
}

/// The value of a setting, as `tuning.wit` describes it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A number; finite.
    Decimal(f64),
    /// On or off.
    Flag(bool),
    /// A word.
    Text(String),
}

/// The values that a setting may take.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Domain {
    /// Whole numbers, from and to.
    Integers((i64, i64)),
    /// Numbers, from and to.
    Decimals((f64, f64)),
    /// One of these words.
    Words(Vec<String>),
    /// On or off.
    Flag,
}

/// What a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The kernel or the hardware.
    Machine,
    /// Threads, queues and batches of the engine.
    Runtime,
    /// The network.
    Network,
    /// The store.
    Store,
}

/// What a change takes to come into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Applies {
    /// Nothing.
    AtOnce,
    /// A reload of the configuration.
    OnReload,
    /// A restart of the process.
    OnRestart,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its name, such as `net.core.somaxconn` or `inference.batch_max`.
    pub name: String,
    /// What it belongs to.
    pub scope: Scope,
    /// What it is now.
    pub current: Value,
    /// What it was before anything was tuned.
    pub original: Value,
    /// What it may be.
    pub domain: Domain,
    /// Most that it may change by in one proposal, for numbers; 0 means without a limit.
    #[serde(with = "crate::number")]
    pub step_max: f64,
    /// When a change comes into force.
    pub applies: Applies,
}

/// A metric over a window.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Median.
    #[serde(with = "crate::number")]
    pub p50: f64,
    /// 99th percentile.
    #[serde(with = "crate::number")]
    pub p99: f64,
    /// Mean.
    #[serde(with = "crate::number")]
    pub mean: f64,
    /// Values in the window.
    pub count: u64,
}

/// What was measured in one window.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// The end of the window, milliseconds since 1970.
    pub now_ms: u64,
    /// Its length in milliseconds.
    pub window_ms: u32,
    /// What the operator wants to be large; the host compares trials by it.
    #[serde(with = "crate::number")]
    pub objective: f64,
    /// The metrics.
    pub metrics: Vec<Metric>,
    /// The trial that was running, if one was.
    pub trial: Option<u64>,
}

/// A fact about the host, such as `memory_bytes` or `numa_nodes`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Its name.
    pub name: String,
    /// What it is.
    pub value: Value,
}

/// A change of one setting.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The setting.
    pub parameter: String,
    /// Its new value, within the domain.
    pub to: Value,
}

/// A trial that the host is to make.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The changes, at least one, each setting at most once.
    pub changes: Vec<Change>,
    /// By which share the objective is expected to rise; 0 where nothing is known.
    #[serde(with = "crate::number")]
    pub expected_gain: f64,
    /// The host takes the changes back when the objective falls by more than this share, from 0
    /// to 1.
    #[serde(with = "crate::number")]
    pub loss_max: f64,
    /// How long the trial lasts, milliseconds, from 100 to one day.
    pub trial_ms: u32,
    /// Why, in one line of at most 256 bytes.
    pub reason: String,
}

/// Longest reason that the host keeps, bytes.
const REASON_BYTES_MAX: usize = 256;

/// Proposes one trial, or none. `history` has the latest observation last.
///
/// There is none while a trial runs, nor before anything was measured after the latest answer. A
/// proposal that is then neither running nor concluded was not taken up: its settings rest.
///
/// # Errors
/// What is wrong with the settings of the host.
pub fn propose(
    settings: &Settings,
    state: &mut State,
    facts: &[Fact],
    parameters: &[Parameter],
    history: &[Observation],
) -> Result<Option<Proposal>, String> {
    let latest = history.last();
    if latest.is_some_and(|observation| observation.trial.is_some()) {
        return Ok(None);
    }
    let now_ms = latest.map(|observation| observation.now_ms);
    if state.has_answered(now_ms) {
        return Ok(None);
    }
    let mut known = BTreeMap::new();
    for parameter in parameters {
        if known.insert(parameter.name.as_str(), parameter).is_some() {
            return Err(format!("the setting `{}` is listed twice", parameter.name));
        }
    }
    known.retain(|name, _| state::is_learnable(name));
    let proposed = match settings.policy {
        Policy::GuideHost => guide_host::propose(settings, state, facts, &known, now_ms),
        Policy::GuideRuntime => guide_runtime::propose(settings, state, &known, history),
    };
    Ok(proposed.map(|mut proposal| {
        let end = proposal.reason.floor_char_boundary(REASON_BYTES_MAX);
        proposal.reason.truncate(end);
        proposal
    }))
}

/// Takes how a trial ended: the objective before and in it, and whether the changes were kept. A
/// trial that is told of twice, or that [`propose`] did not ask for, teaches nothing.
pub fn conclude(state: &mut State, trial: u64, before: f64, after: f64, is_kept: bool) {
    state.conclude(trial, before, after, is_kept);
}

#[cfg(test)]
mod tests;
