//! Owns the questions to a tuner.
//!
//! Brings a value that is out of its domain or too far away to the nearest one allowed; refuses a
//! proposal that is outside of the other bounds that `tuning.wit` states. Bound:
//! [`PARAMETERS_MAX`] settings and [`WINDOWS_MAX`] windows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use truststram_decide::tuning::{
    Applies, Change, Domain, Fact, Observation, Parameter, Proposal, Scope, Value,
};

use crate::instance::{Instance, Part, accepted};
use crate::kind::Tuner;
use crate::stats::{Fault, Refusal};
use crate::text;
use crate::v0_1_0::tuner::exports::truststram::policy::tuning as wit;

/// Most settings, or facts, of one question.
pub const PARAMETERS_MAX: usize = 1_000;
/// Most windows of one question.
pub const WINDOWS_MAX: usize = 1_000;
const REASON_BYTES_MAX: usize = 256;
const TRIAL_MS: std::ops::RangeInclusive<u32> = 100..=86_400_000;

/// A question to a tuner.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunerQuestion {
    /// A trial to make.
    Propose {
        /// What is known of the host.
        facts: Vec<Fact>,
        /// The settings.
        parameters: Vec<Parameter>,
        /// What was measured, the latest last.
        history: Vec<Observation>,
    },
    /// How a trial ended.
    Conclude {
        /// The trial.
        trial: u64,
        /// The objective before it.
        #[serde(with = "truststram_decide::number")]
        before: f64,
        /// The objective in it.
        #[serde(with = "truststram_decide::number")]
        after: f64,
        /// Whether its changes were kept.
        is_kept: bool,
    },
}

/// The answer of a tuner.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunerAnswer {
    /// A trial, or none.
    Proposed(Option<Proposal>),
    /// It was told.
    Concluded,
}

impl Instance<Tuner> {
    /// A trial to make, or none.
    ///
    /// # Errors
    /// Why there is no answer; nothing is changed then.
    pub fn propose(
        &mut self,
        facts: &[Fact],
        parameters: &[Parameter],
        history: &[Observation],
    ) -> Result<Option<Proposal>, Refusal> {
        let is_large = facts.len() > PARAMETERS_MAX || parameters.len() > PARAMETERS_MAX;
        if is_large || history.len() > WINDOWS_MAX {
            return Err(Refusal::Failed);
        }
        let asked_facts: Vec<wit::Fact> = facts
            .iter()
            .map(|fact| wit::Fact { name: fact.name.clone(), value: value(&fact.value) })
            .collect();
        let asked: Vec<wit::Parameter> = parameters.iter().map(parameter).collect();
        let windows: Vec<wit::Observation> = history.iter().map(observation).collect();
        let answer = self.ask(
            Part::Alone,
            |bindings, store| {
                let tuning = bindings.truststram_policy_tuning();
                tuning.call_propose(store, &asked_facts, &asked, &windows)
            },
            |answer| match accepted(answer)? {
                None => Ok(None),
                Some(proposed) => bounded(proposed, parameters).map_err(Fault::nonsense).map(Some),
            },
        );
        let question = || TunerQuestion::Propose {
            facts: facts.to_vec(),
            parameters: parameters.to_vec(),
            history: history.to_vec(),
        };
        self.note(question, &answer, |proposed| TunerAnswer::Proposed(proposed.clone()));
        answer
    }

    /// Says how a trial ended: the objective before and in it, and whether the changes were kept.
    ///
    /// # Errors
    /// Why it did not arrive.
    pub fn conclude(
        &mut self,
        trial: u64,
        before: f64,
        after: f64,
        is_kept: bool,
    ) -> Result<(), Refusal> {
        let answer = self.ask(
            Part::Push,
            |bindings, store| {
                let tuning = bindings.truststram_policy_tuning();
                tuning.call_conclude(store, trial, before, after, is_kept)
            },
            Ok,
        );
        let question = || TunerQuestion::Conclude { trial, before, after, is_kept };
        self.note(question, &answer, |()| TunerAnswer::Concluded);
        answer
    }

    /// Asks a question that was kept.
    pub(crate) fn answer(&mut self, question: &TunerQuestion) -> Result<TunerAnswer, Refusal> {
        match question {
            TunerQuestion::Propose { facts, parameters, history } => {
                self.propose(facts, parameters, history).map(TunerAnswer::Proposed)
            }
            &TunerQuestion::Conclude { trial, before, after, is_kept } => {
                self.conclude(trial, before, after, is_kept).map(|()| TunerAnswer::Concluded)
            }
        }
    }
}

/// The proposal with each value at the nearest one allowed, or what is wrong with it.
fn bounded(proposed: wit::Proposal, parameters: &[Parameter]) -> Result<Proposal, String> {
    let known: BTreeMap<&str, &Parameter> =
        parameters.iter().map(|parameter| (parameter.name.as_str(), parameter)).collect();
    if proposed.changes.is_empty() {
        return Err("a proposal that changes nothing".to_owned());
    }
    let mut seen = BTreeSet::new();
    let mut changes = Vec::with_capacity(proposed.changes.len());
    for change in proposed.changes {
        let shown = text::line(&change.parameter, 64);
        let parameter = known
            .get(change.parameter.as_str())
            .ok_or_else(|| format!("the setting `{shown}` is not there"))?;
        if !seen.insert(change.parameter.clone()) {
            return Err(format!("the setting `{shown}` is changed twice"));
        }
        let to = nearest(parameter, change.to)
            .ok_or_else(|| format!("the setting `{shown}` cannot take that value"))?;
        changes.push(Change { parameter: change.parameter, to });
    }
    if !(0.0..=1.0).contains(&proposed.loss_max) || !proposed.expected_gain.is_finite() {
        let (loss, gain) = (proposed.loss_max, proposed.expected_gain);
        return Err(format!("a loss of at most {loss} with an expected gain of {gain}"));
    }
    if !TRIAL_MS.contains(&proposed.trial_ms) {
        return Err(format!("a trial of {} ms", proposed.trial_ms));
    }
    Ok(Proposal {
        changes,
        expected_gain: proposed.expected_gain,
        loss_max: proposed.loss_max,
        trial_ms: proposed.trial_ms,
        reason: text::line(&proposed.reason, REASON_BYTES_MAX),
    })
}

/// The value nearest to `to` that is in the domain and within one step.
fn nearest(parameter: &Parameter, to: wit::Value) -> Option<Value> {
    let reach = if parameter.step_max > 0.0 { parameter.step_max } else { f64::INFINITY };
    match (&parameter.domain, &parameter.current, to) {
        (&Domain::Integers((low, high)), current, wit::Value::Integer(to)) if low <= high => {
            let to = match *current {
                // The conversion rounds down and saturates.
                Value::Integer(current) => to.clamp(
                    current.saturating_sub_unsigned(reach as u64),
                    current.saturating_add_unsigned(reach as u64),
                ),
                _ => to,
            };
            Some(Value::Integer(to.clamp(low, high)))
        }
        (&Domain::Decimals((low, high)), current, wit::Value::Decimal(to))
            if low <= high && to.is_finite() =>
        {
            let to = match *current {
                Value::Decimal(current) if current.is_finite() => {
                    to.clamp(current - reach, current + reach)
                }
                _ => to,
            };
            Some(Value::Decimal(to.clamp(low, high)))
        }
        (Domain::Words(words), _, wit::Value::Text(to)) => {
            words.contains(&to).then_some(Value::Text(to))
        }
        (Domain::Flag, _, wit::Value::Flag(to)) => Some(Value::Flag(to)),
        _ => None,
    }
}

fn value(value: &Value) -> wit::Value {
    match value {
        Value::Integer(number) => wit::Value::Integer(*number),
        Value::Decimal(number) => wit::Value::Decimal(*number),
        Value::Flag(flag) => wit::Value::Flag(*flag),
        Value::Text(word) => wit::Value::Text(word.clone()),
    }
}

fn parameter(parameter: &Parameter) -> wit::Parameter {
    wit::Parameter {
        name: parameter.name.clone(),
        scope: match parameter.scope {
            Scope::Machine => wit::Scope::Machine,
            Scope::Runtime => wit::Scope::Runtime,
            Scope::Network => wit::Scope::Network,
            Scope::Store => wit::Scope::Store,
        },
        current: value(&parameter.current),
        original: value(&parameter.original),
        domain: match &parameter.domain {
            Domain::Integers(ends) => wit::Domain::Integers(*ends),
            Domain::Decimals(ends) => wit::Domain::Decimals(*ends),
            Domain::Words(words) => wit::Domain::Words(words.clone()),
            Domain::Flag => wit::Domain::Flag,
        },
        step_max: parameter.step_max,
        applies: match parameter.applies {
            Applies::AtOnce => wit::Applies::AtOnce,
            Applies::OnReload => wit::Applies::OnReload,
            Applies::OnRestart => wit::Applies::OnRestart,
        },
    }
}

fn observation(observation: &Observation) -> wit::Observation {
    let metrics = observation.metrics.iter().map(|metric| wit::Metric {
        name: metric.name.clone(),
        p50: metric.p50,
        p99: metric.p99,
        mean: metric.mean,
        count: metric.count,
    });
    wit::Observation {
        now_ms: observation.now_ms,
        window_ms: observation.window_ms,
        objective: observation.objective,
        metrics: metrics.collect(),
        trial: observation.trial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(domain: Domain, current: Value, step_max: f64) -> Parameter {
        Parameter {
            name: "a".to_owned(),
            scope: Scope::Runtime,
            original: current.clone(),
            current,
            domain,
            step_max,
            applies: Applies::AtOnce,
        }
    }

    #[test]
    fn values_are_brought_to_the_nearest_allowed() {
        let integer = |step_max, to| {
            let parameter = parameter(Domain::Integers((0, 100)), Value::Integer(50), step_max);
            nearest(&parameter, wit::Value::Integer(to))
        };
        assert_eq!(integer(0.0, 1_000), Some(Value::Integer(100)));
        assert_eq!(integer(10.0, 1_000), Some(Value::Integer(60)));
        assert_eq!(integer(10.0, i64::MIN), Some(Value::Integer(40)));
        assert_eq!(integer(10.0, 55), Some(Value::Integer(55)));
        let decimal = parameter(Domain::Decimals((0.0, 1.0)), Value::Decimal(0.5), 0.25);
        assert_eq!(nearest(&decimal, wit::Value::Decimal(7.0)), Some(Value::Decimal(0.75)));
        assert_eq!(nearest(&decimal, wit::Value::Decimal(f64::NAN)), None);
        assert_eq!(nearest(&decimal, wit::Value::Integer(1)), None, "another type");
        let words = Domain::Words(vec!["on".to_owned()]);
        let words = parameter(words, Value::Text("on".to_owned()), 0.0);
        assert_eq!(nearest(&words, wit::Value::Text("off".to_owned())), None);
        assert!(nearest(&words, wit::Value::Text("on".to_owned())).is_some());
        let broken = parameter(Domain::Decimals((1.0, 0.0)), Value::Decimal(0.5), f64::NAN);
        assert_eq!(nearest(&broken, wit::Value::Decimal(0.5)), None);
    }
}
