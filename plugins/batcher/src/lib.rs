//! The built-in batcher: a component of world `batcher` in `wit/since_v0.1.0`.
//!
//! Owns the translation between the WIT types and [`decision`], and the settings of this instance.
//! Refuses to know clocks and queues: the host describes the moment in four numbers.
//! Bound: one settings record; `decide` allocates nothing.

mod decision;

use std::cell::Cell;

use decision::{Moment, Settings};
use exports::truststram::policy::batching::{Decision, Guest as Batching};
use exports::truststram::policy::lifecycle::{Guest as Lifecycle, PluginInfo};
use truststram::policy::types::Error;

wit_bindgen::generate!({ path: "../../wit/since_v0.1.0", world: "batcher" });

thread_local! {
    /// A component instance has one thread, so this is the instance's own state.
    static SETTINGS: Cell<Settings> = const { Cell::new(Settings::ZERO_DELAY) };
}

struct Batcher;

impl Lifecycle for Batcher {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: "batcher".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "runs what is queued at once, or waits briefly for a fuller batch".to_owned(),
        }
    }

    fn configure(settings: String) -> Result<(), Error> {
        let settings = Settings::parse(&settings).map_err(Error::InvalidConfig)?;
        SETTINGS.set(settings);
        Ok(())
    }
}

impl Batching for Batcher {
    fn decide(queued: u32, oldest_us: u32, batch_max: u32, target_us: u32) -> Decision {
        let moment = Moment { queued, oldest_us, batch_max, target_us };
        let (take, wait_us) = decision::decide(SETTINGS.get(), moment);
        Decision { take, wait_us }
    }
}

export!(Batcher);
