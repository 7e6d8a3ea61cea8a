//! Owns the list `plugins` as it is typed.
//!
//! Refuses to judge values and to load anything. Bound: one component for each entry.

use serde::{Deserialize, Serialize};
use truststram_policy::Kind;
use utoipa::ToSchema;

/// One policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// The name in metrics and status.
    pub name: String,
    /// What it decides: "aggregator", "batcher", "kernel", "placer", "router", "selector" or
    /// "tuner". The engine of this version asks the batcher; the others answer
    /// `truststram plugin ask`.
    pub kind: PluginKind,
    /// A component file. Give this or `builtin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A policy that comes with the binary, such as "greedy" or "deadline" for a batcher. Give
    /// this or `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<String>,
    /// Handed to the plugin as JSON.
    #[serde(default = "no_settings")]
    #[schema(value_type = Object)]
    pub settings: toml::Table,
    /// What one call may use.
    #[serde(default)]
    pub limits: PluginLimits,
    /// What decides when the plugin fails: "default", the native default; "last-good", the latest
    /// good decision as far as it fits (the native default before the first one); or "reject":
    /// what needed the decision is refused, by a 503 where a client waits.
    #[serde(default)]
    pub on_failure: OnFailure,
}

fn no_settings() -> toml::Table {
    toml::Table::new()
}

/// What a plugin decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// Plans how updates of federated clients become a model.
    Aggregator,
    /// Forms batches of waiting requests.
    Batcher,
    /// Reduces a tile of updates to one.
    Kernel,
    /// Places workloads and copies of data.
    Placer,
    /// Picks the candidate that takes a request.
    Router,
    /// Selects the clients that train in a round.
    Selector,
    /// Proposes settings to try.
    Tuner,
}

impl PluginKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        use truststram_policy as policy;
        match self {
            Self::Aggregator => policy::Aggregator::NAME,
            Self::Batcher => policy::Batcher::NAME,
            Self::Kernel => policy::Kernel::NAME,
            Self::Placer => policy::Placer::NAME,
            Self::Router => policy::Router::NAME,
            Self::Selector => policy::Selector::NAME,
            Self::Tuner => policy::Tuner::NAME,
        }
    }
}

/// What answers when a plugin fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The native default.
    #[default]
    Default,
    /// The latest good decision, as far as it fits.
    LastGood,
    /// Nothing: what needed the decision is refused.
    Reject,
}

/// What one call of a plugin may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Memory of one instance, in MiB.
    pub memory_mib: u32,
    /// Microseconds that one call may take. A call is stopped at most half of the shortest deadline
    /// of all plugins, or 2 ms, later. It is wall time: on a core that the worker shares, a call
    /// also waits for the other threads.
    pub deadline_us: u32,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self { memory_mib: 8, deadline_us: 10_000 }
    }
}

/// The policy that forms batches where the file names no other.
pub const DEFAULT_BATCHER: &str = "greedy";

/// The built-in batcher, which is used where the file names no other.
pub fn default_batcher() -> Plugin {
    Plugin {
        name: "batcher".to_owned(),
        kind: PluginKind::Batcher,
        path: None,
        builtin: Some(DEFAULT_BATCHER.to_owned()),
        settings: toml::Table::new(),
        limits: PluginLimits::default(),
        on_failure: OnFailure::Default,
    }
}
