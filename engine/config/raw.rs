//! Owns the configuration as it is typed: one section per part of the engine, each key with its
//! default and its documentation, from which `config/truststram.toml` is generated.
//!
//! Refuses to judge values; `plan` does. Bound: flat sections and lists of plugins, routes and
//! upstream groups.

use serde::{Deserialize, Serialize};
use truststram_policy::Kind;
use utoipa::ToSchema;

mod cache;
mod limits;
mod routes;
mod store;
mod upstreams;

pub use cache::{Cache, CacheLifetime};
pub use limits::{LimitInFlight, LimitRequests, LimitZone};
pub use routes::{HeaderEdits, Route, RouteScheme};
pub use store::{Store, StoreIo, StoreTier, WhenFull};
pub use upstreams::{
    Breaker, HealthCheck, Upstream, UpstreamPolicy, UpstreamProtocol, UpstreamServer,
};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    /// Addresses, data and life cycle.
    pub server: Server,
    /// The public side of the network.
    pub gateway: Gateway,
    /// The cache of answers.
    pub cache: Cache,
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
    /// Public address without TLS. One that is not loopback needs `--insecure`.
    pub listen: String,
    /// Address of metrics and status. One that is not loopback needs `--insecure`.
    pub admin_listen: String,
    /// Directory that holds everything that must survive. One process at a time owns it.
    pub data_dir: String,
    /// Seconds that open requests get to finish after SIGTERM.
    pub drain_s: u64,
    /// Cores that serve the network, such as "0-1". "auto": a quarter of the allowed cores, or
    /// all of them where there are at most two.
    pub network_cores: String,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            admin_listen: "127.0.0.1:9090".to_owned(),
            data_dir: "truststram-data".to_owned(),
            drain_s: 30,
            network_cores: "auto".to_owned(),
        }
    }
}

/// The public side of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Largest request body in bytes; a larger one is answered 413.
    pub body_bytes_max: usize,
    /// Seconds that a read of a request body may stall.
    pub read_timeout_s: u64,
    /// Seconds that a write of an answer may stall.
    pub write_timeout_s: u64,
    /// File to which every public request is logged as a line of JSON. Empty: no access log.
    pub access_log: String,
    /// Access log lines that may wait to be written; more are dropped and counted.
    pub access_log_lines_max: usize,
    /// Zones that limit how often public requests come, asked in this order, such as
    /// `[{ zone = "api", burst = 200, nodelay = true }]`. A zone is
    /// `[[limits]]` with `name = "api"`, `key = "ip"`, `rate = "100r/s"`, `memory_mib = 10`.
    #[schema(value_type = Vec<Object>)]
    pub limit_requests: Vec<LimitRequests>,
    /// Zones that limit how many public requests are under way at a time, such as
    /// `[{ zone = "addr", at_most = 50 }]`; their `[[limits]]` have no rate.
    #[schema(value_type = Vec<Object>)]
    pub limit_in_flight: Vec<LimitInFlight>,
    /// The status of requests that a limit refuses: 429 or 503.
    pub limit_status: u16,
    /// Whether limits only count what they would refuse.
    pub limit_dry_run: bool,
    /// Seconds within which the head of a request, or a TLS handshake, must be complete.
    pub head_timeout_s: u64,
    /// Seconds that a connection may wait for its next request.
    pub keepalive_s: u64,
    /// Most requests of one HTTP/1.1 connection; 0 for no limit.
    pub keepalive_requests: u32,
    /// Whether HTTP/2 is understood without TLS.
    pub h2c: bool,
    /// Seconds that an HTTP/2 connection may have no request.
    pub h2_idle_timeout_s: u64,
    /// Most idle connections to upstream servers that each network thread keeps.
    pub upstream_idle_max: usize,
    /// Addresses and networks of proxies that are believed when they say whom they speak for, such
    /// as `["10.0.0.0/8"]`. Changed by a reload.
    pub trusted_proxies: Vec<String>,
    /// Where they say it: "x-forwarded-for", "x-real-ip" or "forwarded". Changed by a reload.
    pub real_ip_header: String,
    /// A second public address, spoken to by TLS; empty for none. It may be other than loopback.
    pub tls_listen: String,
    /// Certificates, chosen by the names in them, the first one for all other names:
    /// `[{ chain = "a.pem", key = "a.key", ocsp = "a.der" }]`, `ocsp` if there is one. Changed by a
    /// reload.
    #[schema(value_type = Vec<Object>)]
    pub certificates: Vec<Certificate>,
    /// Oldest version of TLS: "1.2" or "1.3". Changed by a reload.
    pub tls_min: String,
    /// Whether TLS sessions are resumed by tickets. Changed by a reload.
    pub tls_tickets: bool,
    /// PEM file of the authorities of clients; then each client needs a certificate of theirs.
    /// Empty: none does. Changed by a reload.
    pub tls_client_ca: String,
    /// Seconds for which browsers that came by TLS are to come by it again; 0 does not say. Changed
    /// by a reload.
    pub hsts_s: u64,
    /// Whether public answers have `X-Frame-Options` and `X-Content-Type-Options`. Changed by a
    /// reload.
    pub security_headers: bool,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM file of the certificate and those that lead to its root.
    pub chain: String,
    /// PEM file of its private key.
    pub key: String,
    /// DER file of an OCSP answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<String>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            body_bytes_max: 8 << 20,
            read_timeout_s: 60,
            write_timeout_s: 60,
            access_log: String::new(),
            access_log_lines_max: 65_536,
            limit_requests: Vec::new(),
            limit_in_flight: Vec::new(),
            limit_status: 429,
            limit_dry_run: false,
            head_timeout_s: 60,
            keepalive_s: 65,
            keepalive_requests: 0,
            h2c: false,
            h2_idle_timeout_s: 75,
            upstream_idle_max: 128,
            trusted_proxies: Vec::new(),
            real_ip_header: "x-forwarded-for".to_owned(),
            tls_listen: String::new(),
            certificates: Vec::new(),
            tls_min: "1.2".to_owned(),
            tls_tickets: true,
            tls_client_ca: String::new(),
            hsts_s: 31_536_000,
            security_headers: true,
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
    /// "auto" uses io_uring for model files and the access log where the kernel allows it; "off"
    /// uses plain files.
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
