//! A batcher that waits for a fuller batch, for at most a share of the target.

use std::cell::Cell;

use exports::truststram::policy::batching::{self, Decision};
use exports::truststram::policy::lifecycle::{self, PluginInfo};
use truststram::policy::types::Error;

wit_bindgen::generate!({ path: "../../../wit/since_v0.1.0", world: "batcher" });

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Share of the target that the oldest request may wait, from 0 to 1.
    share: f64,
    /// A batch of this size is worth running at once.
    full: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { share: 0.25, full: 16 }
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
            summary: "waits for a fuller batch within a share of the target".to_owned(),
        }
    }

    fn configure(settings: String) -> Result<(), Error> {
        let settings: Settings = serde_json::from_str(&settings)
            .map_err(|error| Error::InvalidConfig(error.to_string()))?;
        if !(0.0..=1.0).contains(&settings.share) {
            return Err(Error::InvalidConfig("`share` must be from 0 to 1".to_owned()));
        }
        SETTINGS.set(settings);
        Ok(())
    }

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
        oldest_us: u32,
        batch_max: u32,
        target_us: u32,
    ) -> Decision {
        let Settings { share, full } = SETTINGS.get();
        let allowed_us = (share * f64::from(target_us)) as u32;
        let left_us = allowed_us.saturating_sub(oldest_us);
        if queued >= full.min(batch_max) || left_us == 0 {
            return Decision { take: queued.min(batch_max), wait_us: 0 };
        }
        Decision { take: 0, wait_us: left_us }
    }
}

export!(Plugin);
