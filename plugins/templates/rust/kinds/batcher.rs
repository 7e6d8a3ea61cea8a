//! A batcher that runs what waits at once, up to a limit.

use std::cell::Cell;

use exports::truststram::policy::batching::{self, Decision};
use exports::truststram::policy::lifecycle::{self, PluginInfo};
use truststram::policy::types::Error;

wit_bindgen::generate!({ path: "wit", world: "batcher" });

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Most requests in a batch, whatever the model allows.
    take_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { take_max: u32::MAX }
    }
}

impl Settings {
    fn check(&self) -> Result<(), &'static str> {
        // With 0 nothing would ever run.
        if self.take_max == 0 { Err("`take_max` must be at least 1") } else { Ok(()) }
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
            summary: "runs what waits at once".to_owned(),
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

impl batching::Guest for Plugin {
    fn decide(
        _bucket: u32,
        queued: u32,
        _oldest_us: u32,
        batch_max: u32,
        _target_us: u32,
    ) -> Decision {
        let take = queued.min(batch_max).min(SETTINGS.get().take_max);
        // `wait_us` is read only when `take` is 0.
        Decision { take, wait_us: 0 }
    }
}

export!(Plugin);
