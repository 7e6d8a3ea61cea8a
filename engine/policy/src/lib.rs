//! Floor 3: policies as sandboxed WASM components.
//!
//! Owns the component host: loading, limits, deadlines, the replacement of instances that failed
//! and the breaker that lets a failing plugin rest.
//! Refuses to know what a decision is used for; `engine/wire` joins it to the model.
//! Bound: memory and time per call from [`PluginLimits`], instances by the engine's pool.

mod aggregator;
mod batcher;
mod builtin;
mod compiled;
mod engine;
mod error;
mod host;
mod instance;
mod kernel;
mod kind;
mod load;
mod native;
mod placer;
mod plugin;
mod recorder;
mod rehearsal;
mod repair;
mod rest;
mod router;
mod selector;
mod signature;
mod spec;
mod state;
mod stats;
mod text;
mod ticker;
mod trial;
mod tuner;
mod v0_1_0;

pub use aggregator::{AggregatorAnswer, AggregatorQuestion, UPDATES_MAX};
pub use builtin::{Builtin, builtins};
pub use error::PolicyError;
pub use host::{FUEL_MAX, Host, HostOptions};
pub use instance::Instance;
pub use kernel::{KernelQuestion, TILE_COORDINATES_MAX, Tile};
pub use kind::{Aggregator, Batcher, Kernel, Kind, Placer, Router, Selector, Tuner};
pub use load::{check_manifest, sha256};
pub use native::{Native, Twin};
pub use placer::{PlacerAnswer, PlacerQuestion, SITES_MAX, WORKLOADS_MAX};
pub use plugin::{Plugin, PluginInfo};
pub use recorder::{Decided, DecisionLog, RUN_BYTES_MAX, Run};
pub use rehearsal::{QUESTIONS, Rehearse, Rehearsed, rehearse};
pub use router::{RouterAnswer, RouterQuestion};
pub use selector::{CLIENTS_MAX, SelectorQuestion};
pub use signature::{PublicKey, make_key, sign};
pub use spec::{PluginLimits, PluginSource, PluginSpec};
pub use stats::{Fallback, PluginStats, Refusal};
pub use trial::{Stage, Trial};
pub use tuner::{PARAMETERS_MAX, TunerAnswer, TunerQuestion, WINDOWS_MAX};

#[cfg(test)]
mod tests;
