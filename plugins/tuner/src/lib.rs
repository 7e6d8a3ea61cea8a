//! The built-in tuners: a component of world `tuner` in `wit/since_v0.1.0`.
//!
//! Owns the translation between the WIT types and [`truststram_decide::tuning`], the settings of
//! this instance and what it has learnt. Refuses to change anything by itself: it proposes.
//! Bound: the parameters and windows of one call; what is learnt has the limit of `snapshot`.

use std::cell::{Cell, RefCell};

use exports::truststram::policy::tuning as wit;
use truststram::policy::types::Error;
use truststram_decide::tuning as decide;

wit_bindgen::generate!({ path: "../../wit/since_v0.1.0", world: "tuner" });

thread_local! {
    static SETTINGS: Cell<decide::Settings> = Cell::default();
    static STATE: RefCell<decide::State> = RefCell::default();
}

struct Tuner;

truststram_plugin_shell::lifecycle!(
    Tuner,
    "tuner",
    "the guide's settings of the host, or hill climbing on those of the engine",
    |settings| {
        SETTINGS.set(decide::Settings::parse(settings)?);
        Ok(())
    },
    || STATE.with_borrow(decide::State::snapshot),
    |state| {
        STATE.set(decide::State::restore(&state)?);
        Ok(())
    }
);

impl wit::Guest for Tuner {
    fn propose(
        facts: Vec<wit::Fact>,
        parameters: Vec<wit::Parameter>,
        history: Vec<wit::Observation>,
    ) -> Result<Option<wit::Proposal>, Error> {
        let facts: Vec<decide::Fact> = facts
            .into_iter()
            .map(|fact| decide::Fact { name: fact.name, value: value(fact.value) })
            .collect();
        let parameters: Vec<decide::Parameter> = parameters.into_iter().map(parameter).collect();
        let history: Vec<decide::Observation> = history.into_iter().map(observation).collect();
        let proposed = STATE.with_borrow_mut(|state| {
            decide::propose(&SETTINGS.get(), state, &facts, &parameters, &history)
        });
        Ok(proposed.map_err(Error::Unsupported)?.map(proposal))
    }

    fn conclude(trial: u64, before: f64, after: f64, is_kept: bool) {
        STATE.with_borrow_mut(|state| decide::conclude(state, trial, before, after, is_kept));
    }
}

fn value(value: wit::Value) -> decide::Value {
    match value {
        wit::Value::Integer(number) => decide::Value::Integer(number),
        wit::Value::Decimal(number) => decide::Value::Decimal(number),
        wit::Value::Flag(flag) => decide::Value::Flag(flag),
        wit::Value::Text(word) => decide::Value::Text(word),
    }
}

fn parameter(parameter: wit::Parameter) -> decide::Parameter {
    decide::Parameter {
        name: parameter.name,
        scope: match parameter.scope {
            wit::Scope::Machine => decide::Scope::Machine,
            wit::Scope::Runtime => decide::Scope::Runtime,
            wit::Scope::Network => decide::Scope::Network,
            wit::Scope::Store => decide::Scope::Store,
        },
        current: value(parameter.current),
        original: value(parameter.original),
        domain: match parameter.domain {
            wit::Domain::Integers(ends) => decide::Domain::Integers(ends),
            wit::Domain::Decimals(ends) => decide::Domain::Decimals(ends),
            wit::Domain::Words(words) => decide::Domain::Words(words),
            wit::Domain::Flag => decide::Domain::Flag,
        },
        step_max: parameter.step_max,
        applies: match parameter.applies {
            wit::Applies::AtOnce => decide::Applies::AtOnce,
            wit::Applies::OnReload => decide::Applies::OnReload,
            wit::Applies::OnRestart => decide::Applies::OnRestart,
        },
    }
}

fn observation(observation: wit::Observation) -> decide::Observation {
    let metric = |metric: wit::Metric| decide::Metric {
        name: metric.name,
        p50: metric.p50,
        p99: metric.p99,
        mean: metric.mean,
        count: metric.count,
    };
    decide::Observation {
        now_ms: observation.now_ms,
        window_ms: observation.window_ms,
        objective: observation.objective,
        metrics: observation.metrics.into_iter().map(metric).collect(),
        trial: observation.trial,
    }
}

fn proposal(proposal: decide::Proposal) -> wit::Proposal {
    let to = |value: decide::Value| match value {
        decide::Value::Integer(number) => wit::Value::Integer(number),
        decide::Value::Decimal(number) => wit::Value::Decimal(number),
        decide::Value::Flag(flag) => wit::Value::Flag(flag),
        decide::Value::Text(word) => wit::Value::Text(word),
    };
    let changes = proposal.changes.into_iter();
    wit::Proposal {
        changes: changes
            .map(|change| wit::Change { parameter: change.parameter, to: to(change.to) })
            .collect(),
        expected_gain: proposal.expected_gain,
        loss_max: proposal.loss_max,
        trial_ms: proposal.trial_ms,
        reason: proposal.reason,
    }
}

export!(Tuner);
