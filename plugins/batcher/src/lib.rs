//! The built-in batchers: a component of world `batcher` in `wit/since_v0.1.0`.
//!
//! Owns the translation between the WIT types and [`truststram_decide::batching`], and the settings
//! of this instance. Refuses to know clocks and queues: the host describes the moment in numbers.
//! Bound: one settings record; `decide` allocates nothing.

use std::cell::Cell;

use exports::truststram::policy::batching::{Decision, Guest};
use truststram_decide::batching::{self, Moment, Settings};

wit_bindgen::generate!({ path: "../../wit/since_v0.1.0", world: "batcher" });

thread_local! {
    /// A component instance has one thread, so this is the instance's own state.
    static SETTINGS: Cell<Settings> = const { Cell::new(Settings::GREEDY) };
}

struct Batcher;

truststram_plugin_shell::lifecycle!(
    Batcher,
    "batcher",
    "runs what is queued at once, or waits briefly for a fuller batch",
    |settings| {
        SETTINGS.set(Settings::parse(settings)?);
        Ok(())
    }
);

impl Guest for Batcher {
    fn decide(
        bucket: u32,
        queued: u32,
        oldest_us: u32,
        batch_max: u32,
        target_us: u32,
    ) -> Decision {
        let moment = Moment { bucket, queued, oldest_us, batch_max, target_us };
        let batching::Decision { take, wait_us } = batching::decide(&SETTINGS.get(), &moment);
        Decision { take, wait_us }
    }
}

export!(Batcher);
