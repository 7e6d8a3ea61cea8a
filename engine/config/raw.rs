//! Owns the configuration as it is typed: one section per part of the engine, each key with its
//! default and its documentation, from which `config/truststram.toml` is generated.
//!
//! Refuses to judge values; `plan` does. Bound: flat sections and lists of plugins, routes and
//! upstream groups.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod auth;
mod cache;
mod compression;
mod federated;
mod gateway;
mod limits;
mod overload;
mod plugins;
mod routes;
mod store;
mod training;
mod upstreams;

pub use auth::{Auth, AuthMode, Holder, Issuer};
pub use cache::{Cache, CacheLifetime};
pub use compression::Compression;
pub use federated::Federated;
pub use gateway::{Certificate, ClientAuth, Cors, Gateway};
pub use limits::{LimitDay, LimitInFlight, LimitRequests, LimitWindow, LimitZone};
pub use overload::Overload;
pub use plugins::{DEFAULT_BATCHER, OnFailure, Plugin, PluginKind, PluginLimits, default_batcher};
pub use routes::{HeaderEdits, Priority, Route, RouteScheme};
pub use store::{Store, StoreIo, StoreTier, WhenFull};
pub use training::{Training, TrainingPriority};
pub use upstreams::{
    Breaker, HealthCheck, Hedge, Upstream, UpstreamPolicy, UpstreamProtocol, UpstreamServer,
};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    /// Addresses, data and life cycle.
    pub server: Server,
    /// The public side of the network.
    pub gateway: Gateway,
    /// Who is let in.
    pub auth: Auth,
    /// The cache of answers.
    pub cache: Cache,
    /// The compression of answers.
    pub compression: Compression,
    /// What is done when more comes than can be done.
    pub overload: Overload,
    /// The HTTP interface.
    pub api: Api,
    /// The inference core.
    pub inference: Inference,
    /// The store.
    pub store: Store,
    /// The machine.
    pub machine: Machine,
    /// The process's own log.
    pub log: Log,
    /// Who may bring policies, and what is kept of their decisions.
    pub policy: Policy,
    /// Models trained by clients elsewhere.
    pub federated: Federated,
    /// Models trained here.
    pub training: Training,
    /// What limits count requests by.
    pub limits: Vec<LimitZone>,
    /// Policies.
    pub plugins: Vec<Plugin>,
    /// Where public requests go.
    pub routes: Vec<Route>,
    /// Groups of servers that routes lead to.
    pub upstreams: Vec<Upstream>,
}

/// Addresses, data and life cycle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Public address without TLS. One that is not loopback needs `--insecure`. Changed by a
    /// reload: the new address is bound first, and requests at the old one are answered still.
    pub listen: String,
    /// Address of metrics and status. One that is not loopback needs `--insecure`. Changed by a
    /// reload, as `listen`.
    pub admin_listen: String,
    /// Directory that holds everything that must survive. One process at a time owns it.
    pub data_dir: String,
    /// Seconds that open requests get to finish after SIGTERM.
    pub drain_s: u64,
    /// Cores that serve the network, such as "0-1". "auto": a quarter of the allowed cores, or
    /// all of them where there are at most two.
    pub network_cores: String,
    /// Whether network threads go before all other threads of their cores (real-time scheduling)
    /// as long as they leave a twentieth of them and the store keeps up. Needs CAP_SYS_NICE or an
    /// rtprio limit of 1; without, they share the cores evenly.
    pub network_first: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            admin_listen: "127.0.0.1:9090".to_owned(),
            data_dir: "truststram-data".to_owned(),
            drain_s: 30,
            network_cores: "auto".to_owned(),
            network_first: true,
        }
    }
}

/// The HTTP interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Milliseconds within which a prediction is answered; later ones are answered 504.
    pub deadline_ms: u64,
    /// Whether predictions carry `Server-Timing`. It tells clients how busy the server is.
    pub server_timing: bool,
}

impl Default for Api {
    fn default() -> Self {
        Self { deadline_ms: 1_000, server_timing: false }
    }
}

/// The inference core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Inference {
    /// Cores that compute, one worker each, such as "2-7". "auto": those that do not serve the
    /// network, or all of them where there are at most two.
    pub cores: String,
    /// Requests that may wait for a worker; more are answered 503.
    pub queue_requests_max: usize,
    /// Most requests that run as one batch.
    pub batch_max: u32,
    /// Microseconds within which the batcher policy should have a request answered.
    pub batch_target_us: u32,
    /// Microseconds of computation up to which a network thread that shares its core with a worker
    /// computes a request itself, together with what else has arrived, instead of waking the
    /// worker; 0: never.
    pub inline_us: u32,
    /// Model versions that may be loaded at once.
    pub loaded_max: usize,
    /// Memory of all loaded versions together, MiB; 0 for no limit. Versions that nobody needs make
    /// room, the one first that nobody asked for the longest.
    pub memory_mib: u64,
}

impl Default for Inference {
    fn default() -> Self {
        Self {
            cores: "auto".to_owned(),
            queue_requests_max: 4_096,
            batch_max: 64,
            batch_target_us: 2_000,
            inline_us: 50,
            loaded_max: 64,
            memory_mib: 0,
        }
    }
}

impl Inference {
    /// Memory of all loaded versions together, if it has a limit.
    pub fn memory_bytes_max(&self) -> Option<u64> {
        (self.memory_mib > 0).then(|| self.memory_mib.saturating_mul(1 << 20))
    }
}

/// Whether io_uring is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IoUring {
    /// Where the kernel allows it.
    Auto,
    /// Never.
    Off,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Machine {
    /// "auto" uses io_uring for model files, the access log and the rows of training jobs where the
    /// kernel allows it; "off" uses plain files.
    #[schema(value_type = String)]
    pub io_uring: IoUring,
}

impl Default for Machine {
    fn default() -> Self {
        Self { io_uring: IoUring::Auto }
    }
}

/// How the process's own log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The process's own log, on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// "error", "warn", "info", "debug" or "trace", or a filter such as
    /// "info,truststram_policy=debug".
    pub level: String,
    /// "text" for people, "json" for programs.
    #[schema(value_type = String)]
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// Who may bring policies, and what is kept of their decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether a component that is installed while serving needs a signature.
    pub require_signed: bool,
    /// Ed25519 public keys that may sign, 64 hexadecimal digits each.
    pub trusted_keys: Vec<String>,
    /// Runs of decisions of each plugin that are kept for `truststram plugin replay`, the newest
    /// ones. 0 records nothing.
    pub recorded_runs_max: u32,
    /// Milliseconds from the start of one run of a batcher or router to the next. Of the other
    /// kinds every decision is recorded.
    pub record_every_ms: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            require_signed: false,
            trusted_keys: Vec::new(),
            recorded_runs_max: 1_000,
            record_every_ms: 1_000,
        }
    }
}
