//! A tuner that moves one whole-number setting by 1, and turns round when that did not help.

use std::cell::{Cell, RefCell};

use exports::truststram::policy::lifecycle::{self, PluginInfo};
use exports::truststram::policy::tuning::{
    self, Change, Domain, Fact, Observation, Parameter, Proposal, Value,
};
use truststram::policy::types::Error;

wit_bindgen::generate!({ path: "wit", world: "tuner" });

#[derive(Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// The name of the setting to tune. Without one, nothing is proposed.
    parameter: String,
}

impl Settings {
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

thread_local! {
    // An instance has one thread, so these are its own.
    static SETTINGS: RefCell<Settings> = RefCell::default();
    static STEP: Cell<i64> = const { Cell::new(1) };
}

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "moves one whole-number setting by 1".to_owned(),
        }
    }

    fn configure(settings: String) -> Result<(), Error> {
        let settings: Settings = serde_json::from_str(&settings)
            .map_err(|error| Error::InvalidConfig(error.to_string()))?;
        settings.check().map_err(|reason| Error::InvalidConfig(reason.to_owned()))?;
        SETTINGS.set(settings);
        Ok(())
    }

    // There is nothing to carry over to a newer version.
    fn snapshot() -> Vec<u8> {
        Vec::new()
    }

    fn restore(_state: Vec<u8>) -> Result<(), Error> {
        Ok(())
    }
}

impl tuning::Guest for Plugin {
    fn propose(
        _facts: Vec<Fact>,
        parameters: Vec<Parameter>,
        history: Vec<Observation>,
    ) -> Result<Option<Proposal>, Error> {
        // Not before something was measured, and one trial at a time.
        if history.last().is_none_or(|latest| latest.trial.is_some()) {
            return Ok(None);
        }
        let name = SETTINGS.with_borrow(|settings| settings.parameter.clone());
        let Some(parameter) = parameters.into_iter().find(|one| one.name == name) else {
            return Ok(None);
        };
        let (Value::Integer(current), Domain::Integers((from, to))) =
            (parameter.current, parameter.domain)
        else {
            return Ok(None);
        };
        let next = current.saturating_add(STEP.get());
        if next == current || !(from..=to).contains(&next) {
            STEP.set(-STEP.get());
            return Ok(None);
        }
        Ok(Some(Proposal {
            reason: format!("{name} from {current} to {next}"),
            changes: vec![Change { parameter: name, to: Value::Integer(next) }],
            expected_gain: 0.01,
            loss_max: 0.05,
            trial_ms: 10_000,
        }))
    }

    fn conclude(_trial: u64, _before: f64, _after: f64, is_kept: bool) {
        if !is_kept {
            STEP.set(-STEP.get());
        }
    }
}

export!(Plugin);
