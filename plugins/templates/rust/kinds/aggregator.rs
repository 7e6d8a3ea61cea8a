//! An aggregator that takes the mean of the updates, weighted by samples.

use std::cell::Cell;

use exports::truststram::policy::aggregation::{
    self, Admission, CostlyFacts, Outcome, Plan, Reducer, Refusal, RoundContext, ServerOptimizer,
    UpdateColumns, UpdateFacts,
};
use exports::truststram::policy::lifecycle::{self, PluginInfo};
use truststram::policy::types::Error;

wit_bindgen::generate!({ path: "wit", world: "aggregator" });

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// The server's learning rate, above 0.
    learning_rate: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { learning_rate: 1.0 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), &'static str> {
        if self.learning_rate.is_finite() && self.learning_rate > 0.0 {
            Ok(())
        } else {
            Err("`learning_rate` must be above 0")
        }
    }
}

thread_local! {
    /// An instance has one thread, so this is its own.
    static SETTINGS: Cell<Settings> = Cell::default();
}

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "the mean of the updates, weighted by samples".to_owned(),
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

impl aggregation::Guest for Plugin {
    fn wanted() -> CostlyFacts {
        CostlyFacts::empty()
    }

    fn admit(context: RoundContext, update: UpdateFacts) -> Result<Admission, Error> {
        if !update.l2_norm.is_finite() {
            return Ok(Admission::Refuse("the update is not finite".to_owned()));
        }
        if context.buffered.saturating_add(1) >= context.clients_asked {
            return Ok(Admission::AcceptAndAggregate);
        }
        Ok(Admission::Accept)
    }

    fn make_plan(_context: RoundContext, updates: UpdateColumns) -> Result<Outcome, Error> {
        let is_good = |norm: &f32| norm.is_finite();
        let count = updates.l2_norms.iter().filter(|norm| is_good(norm)).count();
        if count == 0 {
            return Ok(Outcome::KeepModel("no update is usable".to_owned()));
        }
        let pairs = || updates.samples.iter().zip(&updates.l2_norms);
        let total: f64 =
            pairs().filter(|(_, norm)| is_good(norm)).map(|(samples, _)| *samples as f64).sum();
        // Where no client says how many samples it has, all count alike.
        let share = |samples: u64| {
            if total > 0.0 { samples as f64 / total } else { 1.0 / count as f64 }
        };
        let weights = pairs()
            .map(|(samples, norm)| if is_good(norm) { share(*samples) as f32 } else { 0.0 })
            .collect();
        let refused = (0..)
            .zip(&updates.l2_norms)
            .filter(|(_, norm)| !is_good(norm))
            .map(|(index, _)| Refusal { index, reason: "the update is not finite".to_owned() })
            .collect();
        Ok(Outcome::Aggregate(Plan {
            weights,
            reducer: Reducer::Linear,
            optimizer: ServerOptimizer::None,
            learning_rate: SETTINGS.get().learning_rate,
            clip_norm: 0.0,
            noise_multiplier: 0.0,
            refused,
            reason: format!("mean of {count} updates, weighted by samples"),
        }))
    }
}

export!(Plugin);
