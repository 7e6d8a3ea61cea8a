//! Owns a component on trial beside the one in use: as its shadow it is asked the same and only
//! compared; as a canary it decides a share of the questions.
//!
//! Refuses to let a component on trial take a decision away: where it fails, the one in use is
//! asked. Bound: one trial for each plugin; a shadow costs a second call.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use truststram_base::Counter;
use wasmtime::Store;

use crate::instance::{Instance, Part};
use crate::kind::{Called, Kind};
use crate::plugin::Plugin;
use crate::state::InstanceState;
use crate::stats::{Fault, Refusal};

/// Bytes of a difference that are shown.
const DIFFERENCE_BYTES_MAX: usize = 512;

/// How a component is tried.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Stage {
    /// It is asked what the one in use is asked, and its answers are only compared.
    Shadow,
    /// It decides this share of the questions, above 0 and at most 1.
    Canary(f64),
}

/// A component on trial.
#[derive(Debug)]
pub struct Trial<K: Kind> {
    pub(crate) plugin: Arc<Plugin<K>>,
    stage: Stage,
    /// Shadow: answers that were the same.
    pub agreed: Counter,
    /// Shadow: answers that were not.
    pub differed: Counter,
    /// Canary: decisions that it made.
    pub decided: Counter,
    last_difference: Mutex<Option<String>>,
}

impl<K: Kind> Trial<K> {
    pub(crate) fn new(plugin: Arc<Plugin<K>>, stage: Stage) -> Self {
        Self {
            plugin,
            stage,
            agreed: Counter::new(),
            differed: Counter::new(),
            decided: Counter::new(),
            last_difference: Mutex::new(None),
        }
    }

    /// The component with figures of its own.
    pub fn plugin(&self) -> &Arc<Plugin<K>> {
        &self.plugin
    }

    /// How it is tried.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Two answers to one question that were not the same: the first, and later ones of the more
    /// differences, the fewer.
    pub fn last_difference(&self) -> Option<String> {
        self.last_difference.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn compare<D: Debug + PartialEq>(&self, own: &Result<D, Refusal>, other: &Result<D, Refusal>) {
        // Failures are counted where they happen; to decline is an answer.
        let is_answer =
            |answer: &Result<D, Refusal>| matches!(answer, Ok(_) | Err(Refusal::Declined));
        if !is_answer(own) || !is_answer(other) {
            return;
        }
        if own == other {
            self.agreed.add(1);
            return;
        }
        self.differed.add(1);
        if self.differed.get().is_power_of_two() {
            let mut text = format!("{own:?} in use, {other:?} on trial");
            text.truncate(text.floor_char_boundary(DIFFERENCE_BYTES_MAX));
            *self.last_difference.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        }
    }
}

/// One worker's instance of a component on trial.
pub(crate) struct OnTrial<K: Kind> {
    trial: Arc<Trial<K>>,
    instance: Instance<K>,
    /// Rises by the share with each question; at 1 it is the canary's turn.
    turn: f64,
}

impl<K: Kind> OnTrial<K> {
    pub(crate) fn new(trial: Arc<Trial<K>>) -> Self {
        let instance = Instance::awaited(trial.plugin.clone());
        Self { trial, instance, turn: 0.0 }
    }

    /// Asks the one in use, the one on trial, or both.
    pub(crate) fn ask<T, D: Debug + PartialEq>(
        &mut self,
        used: &mut Instance<K>,
        part: Part,
        call: &impl Fn(&K::Bindings, &mut Store<InstanceState>) -> Called<T>,
        judge: &impl Fn(T) -> Result<D, Fault>,
    ) -> Result<D, Refusal> {
        if let (Stage::Canary(share), Part::Alone | Part::Follows) = (self.trial.stage, part) {
            self.turn += share;
            if self.turn < 1.0 {
                return used.ask_own(part, call, judge);
            }
            self.turn -= 1.0;
            let answer = self.instance.ask_own(part, call, judge);
            if matches!(answer, Ok(_) | Err(Refusal::Declined)) {
                self.trial.decided.add(1);
                return answer;
            }
            return used.ask_own(part, call, judge);
        }
        let own = used.ask_own(part, call, judge);
        let other = self.instance.ask_own(part, call, judge);
        if self.trial.stage == Stage::Shadow && part != Part::Push {
            self.trial.compare(&own, &other);
        }
        own
    }
}
