//! Owns what a tuner has learnt: which settings rest, which way paid, how large the next step is.
//!
//! Refuses to know values and domains: it knows settings by name. It holds whole numbers only,
//! since a decimal may lose its last bit in JSON. Bound: [`LESSON_COUNT_MAX`] settings with names
//! of [`NAME_BYTES_MAX`] bytes, and one pending proposal: below [`STATE_BYTES_MAX`] as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Policy;

/// Longest snapshot, bytes, as `lifecycle.wit` states it.
pub const STATE_BYTES_MAX: usize = 1 << 20;
/// Most settings of which something is remembered; beyond, the one tried longest ago is forgotten.
pub(super) const LESSON_COUNT_MAX: usize = 1_024;
/// Most changes of one proposal.
pub(super) const CHANGE_COUNT_MAX: usize = 256;
/// Longest name of a setting that is tuned, bytes.
const NAME_BYTES_MAX: usize = 128;
/// A rest is doubled at most this often.
const DOUBLINGS_MAX: u32 = 10;
/// A step is halved at most this often.
const HALVINGS_MAX: u32 = 13;
/// Steps in a row that paid, after which the step doubles: the optimum is not near.
const PAID_STEPS: u32 = 2;

/// Whether a setting of this name is tuned: others would not fit into the snapshot or the reason.
pub(super) fn is_learnable(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What is known of one setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Lesson {
    /// The round of its latest trial; 0 if it never had one.
    pub tried: u64,
    /// The last round in which it rests.
    pub rests_until: u64,
    /// Trials that failed in a row.
    pub failures: u32,
    /// Steps that paid since the step last changed its size.
    pub paid: u32,
    /// How often the step is halved.
    pub halvings: u32,
    /// Which way the next step goes.
    pub is_downward: bool,
    /// Whether a target was reached and kept. If the setting is elsewhere later, somebody else has
    /// put it there, and is not fought.
    pub is_done: bool,
    /// What the latest step gained, in millionths of the objective.
    pub gain_ppm: u32,
}

/// One change that the host was asked to try.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tried {
    /// The setting.
    pub name: String,
    /// Which way it went.
    pub is_downward: bool,
    /// Whether it goes all the way to the target.
    pub is_final: bool,
}

/// The proposal that waits for its conclusion.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    /// The tuner that made it.
    pub policy: Policy,
    /// The latest window that it was made from, milliseconds since 1970.
    pub now_ms: Option<u64>,
    /// The gain that chance explains, in millionths of the objective.
    pub noise_ppm: u32,
    /// The first rest after a failure, rounds.
    pub rest_rounds: u32,
    /// What it changes.
    pub changes: Vec<Tried>,
}

/// What a tuner has learnt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    round: u64,
    lessons: BTreeMap<String, Lesson>,
    pending: Option<Pending>,
    /// The trial concluded last. Not carried over, since a restarted host may count from 1 again.
    #[serde(skip)]
    concluded: Option<u64>,
}

impl State {
    /// What was learnt, as JSON of at most [`STATE_BYTES_MAX`] bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Takes what [`Self::snapshot`] returned. No bytes mean that nothing was learnt.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn restore(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if bytes.len() > STATE_BYTES_MAX {
            return Err(format!("a state of {} bytes, more than {STATE_BYTES_MAX}", bytes.len()));
        }
        let state: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let changes = state.pending.as_ref().map_or(&[][..], |pending| &pending.changes);
        if state.lessons.len() > LESSON_COUNT_MAX || changes.len() > CHANGE_COUNT_MAX {
            return Err("a state of more settings than are kept".to_owned());
        }
        let mut names = state.lessons.keys().chain(changes.iter().map(|tried| &tried.name));
        match names.find(|name| !is_learnable(name)) {
            Some(_) => Err("a state with a name that no setting has".to_owned()),
            None => Ok(state),
        }
    }

    /// Whether a proposal was made and no window has been measured since.
    pub(super) fn has_answered(&self, now_ms: Option<u64>) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.now_ms == now_ms)
    }

    /// Begins a round, in which no trial runs. What is still pending was not taken up: its settings
    /// rest, so that others get a turn.
    pub(super) fn begin_round(&mut self) {
        if let Some(pending) = self.pending.take() {
            for tried in &pending.changes {
                self.fail(&tried.name, pending.rest_rounds);
            }
        }
        self.round = self.round.saturating_add(1);
    }

    /// What is known of a setting; `None` while it rests.
    pub(super) fn awake(&self, name: &str) -> Option<Lesson> {
        let lesson = self.lessons.get(name).copied().unwrap_or_default();
        (lesson.rests_until < self.round).then_some(lesson)
    }

    /// Remembers a proposal until it is concluded.
    pub(super) fn expect(&mut self, pending: Pending) {
        for tried in &pending.changes {
            self.lesson(&tried.name).tried = self.round;
        }
        self.pending = Some(pending);
    }

    /// Learns from the trial of what is pending.
    pub(super) fn conclude(&mut self, trial: u64, before: f64, after: f64, is_kept: bool) {
        if self.concluded == Some(trial) {
            return;
        }
        let Some(pending) = self.pending.take() else { return };
        self.concluded = Some(trial);
        let gain_ppm = gain_ppm(before, after);
        let has_paid = is_kept && gain_ppm > pending.noise_ppm;
        for tried in &pending.changes {
            match pending.policy {
                // The guide's settings are worth having if they do no harm.
                Policy::GuideHost if is_kept => {
                    let lesson = self.lesson(&tried.name);
                    lesson.failures = 0;
                    lesson.is_done = tried.is_final;
                }
                Policy::GuideHost => self.fail(&tried.name, pending.rest_rounds),
                Policy::GuideRuntime if has_paid => {
                    self.lesson(&tried.name).pay(tried.is_downward, gain_ppm);
                }
                // The host keeps what fell by no more than chance. That is not a step that paid,
                // or a setting without an effect would wander for ever.
                Policy::GuideRuntime => {
                    self.lesson(&tried.name).turn(tried.is_downward);
                    self.fail(&tried.name, pending.rest_rounds);
                }
            }
        }
    }

    /// Lets a setting rest, the longer the more of its trials failed in a row.
    fn fail(&mut self, name: &str, rest_rounds: u32) {
        let round = self.round;
        let lesson = self.lesson(name);
        let doublings = lesson.failures.min(DOUBLINGS_MAX);
        lesson.rests_until = round.saturating_add(u64::from(rest_rounds) << doublings);
        lesson.failures = lesson.failures.saturating_add(1);
    }

    fn lesson(&mut self, name: &str) -> &mut Lesson {
        if !self.lessons.contains_key(name) && self.lessons.len() >= LESSON_COUNT_MAX {
            let oldest = self.lessons.iter().min_by_key(|(_, lesson)| lesson.tried);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.lessons.remove(&oldest);
            }
        }
        self.lessons.entry(name.to_owned()).or_default()
    }
}

impl Lesson {
    /// The step went the right way.
    fn pay(&mut self, is_downward: bool, gain_ppm: u32) {
        self.failures = 0;
        self.is_downward = is_downward;
        self.gain_ppm = gain_ppm;
        self.paid = self.paid.saturating_add(1);
        if self.paid >= PAID_STEPS && self.halvings > 0 {
            self.halvings = self.halvings.min(HALVINGS_MAX) - 1;
            self.paid = 0;
        }
    }

    /// The step went the wrong way, or too far.
    fn turn(&mut self, is_downward: bool) {
        self.is_downward = !is_downward;
        self.gain_ppm = 0;
        self.paid = 0;
        self.halvings = self.halvings.saturating_add(1).min(HALVINGS_MAX);
    }

    /// The share of its domain by which a setting is changed next, if the first is `step_share`.
    pub(super) fn step_share(&self, step_share: f64) -> f64 {
        step_share / f64::from(1_u32 << self.halvings.min(HALVINGS_MAX))
    }
}

/// By how many millionths the objective rose; 0 if it did not, or if that cannot be said.
fn gain_ppm(before: f64, after: f64) -> u32 {
    let gain = (after - before) / before.abs();
    // A conversion to an integer saturates and makes 0 of what is not a number.
    (gain * 1e6).floor() as u32
}
