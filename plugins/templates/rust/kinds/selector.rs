//! A selector that takes the clients with the most samples.

use std::cell::Cell;
use std::cmp::Reverse;

use exports::truststram::policy::lifecycle::{self, PluginInfo};
use exports::truststram::policy::selection::{
    self, AssignmentColumns, ClientColumns, RoundRequest,
};
use truststram::policy::types::Error;

wit_bindgen::generate!({ path: "wit", world: "selector" });

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Examples per step, from 1 to 65,536.
    batch_size: u32,
    /// Passes over the client's examples, from 1 to 1,000.
    epochs: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch_size: 32, epochs: 1 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), &'static str> {
        if !(1..=65_536).contains(&self.batch_size) {
            return Err("`batch_size` must be from 1 to 65536");
        }
        if !(1..=1_000).contains(&self.epochs) {
            return Err("`epochs` must be from 1 to 1000");
        }
        Ok(())
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
            summary: "the clients with the most samples".to_owned(),
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

impl selection::Guest for Plugin {
    fn select(request: RoundRequest, clients: ClientColumns) -> Result<AssignmentColumns, Error> {
        let mut by_samples: Vec<(u64, u32)> =
            clients.samples.into_iter().zip(clients.ids).collect();
        // The sort is stable, so that equal clients stay in the host's order.
        by_samples.sort_by_key(|(samples, _)| Reverse(*samples));
        by_samples.truncate(request.clients_max as usize);
        let count = by_samples.len();
        if count < request.clients_min as usize {
            return Err(Error::Unsupported(format!("there are only {count} clients")));
        }
        let Settings { batch_size, epochs } = SETTINGS.get();
        Ok(AssignmentColumns {
            ids: by_samples.into_iter().map(|(_, id)| id).collect(),
            batch_sizes: vec![batch_size; count],
            local_epochs: vec![epochs; count],
        })
    }
}

export!(Plugin);
