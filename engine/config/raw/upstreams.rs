//! Owns the keys of `[[upstreams]]`.
//!
//! Refuses to judge values; `plan` does. Bound: one list.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamPolicy {
    /// In turn, by weight.
    RoundRobin,
    /// The one with the fewest open requests for its weight.
    LeastConn,
    /// The faster of two random ones.
    Ewma,
    /// The same one for the same `hash_key`.
    Hash,
    /// By chance and weight.
    Random,
}

/// How servers are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS.
    H2c,
    /// TLS.
    Tls,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamServer {
    /// Host or address, and port.
    pub address: String,
    /// Its share of requests.
    pub weight: u32,
    /// Whether it is asked only when no other can be.
    pub backup: bool,
    /// Failures within `fail_timeout_s` after which it is left alone as long; 0 never does.
    pub max_fails: u32,
    /// See `max_fails`.
    pub fail_timeout_s: u64,
    /// Whether it takes no new requests.
    pub drain: bool,
}

impl Default for UpstreamServer {
    fn default() -> Self {
        Self {
            address: String::new(),
            weight: 1,
            backup: false,
            max_fails: 1,
            fail_timeout_s: 10,
            drain: false,
        }
    }
}

/// Checks that servers answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheck {
    /// Path of a GET that must be answered 200 to 399; without it a connection is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Milliseconds from one check to the next.
    pub interval_ms: u64,
    /// Milliseconds that one may take.
    pub timeout_ms: u64,
    /// Checks passed in a row that bring a server back.
    pub rise: u32,
    /// Checks failed in a row that take it out.
    pub fall: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self { path: None, interval_ms: 5_000, timeout_ms: 1_000, rise: 1, fall: 1 }
    }
}

/// When a group as a whole is left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Failed requests of a hundred that open it.
    pub failure_percent: u32,
    /// Requests in the window below which it stays closed.
    pub requests_min: u32,
    /// Milliseconds over which requests are counted.
    pub window_ms: u64,
    /// Milliseconds that it stays open.
    pub open_ms: u64,
    /// Requests that try it afterwards; all must succeed.
    pub probes: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failure_percent: 50, requests_min: 20, window_ms: 10_000, open_ms: 5_000, probes: 3 }
    }
}

/// When a second server is asked beside one that has not begun its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hedge {
    /// Milliseconds that the first one is waited for.
    pub after_ms: u64,
    /// Second attempts as a share of all requests, in percent.
    pub budget_percent: u32,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { after_ms: 50, budget_percent: 10 }
    }
}

/// A group of servers. A reload changes all of it; what is known of servers that stay is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// The name in routes and metrics.
    pub name: String,
    /// Servers: `[{ address = "10.0.1.10:8080", weight = 1, backup = false, max_fails = 1,
    /// fail_timeout_s = 10, drain = false }]`; all but the address have these defaults. Names are
    /// looked up again every 30 s.
    #[schema(value_type = Vec<Object>)]
    pub servers: Vec<UpstreamServer>,
    /// How one is chosen: "round_robin", "least_conn", "ewma" (the faster of two random ones),
    /// "hash" (always the same one for `hash_key`) or "random".
    #[schema(value_type = String)]
    pub policy: UpstreamPolicy,
    /// What "hash" hashes: "ip", "path" or "header:NAME".
    pub hash_key: String,
    /// Checks besides the requests themselves:
    /// `{ path = "/health", interval_ms = 5000, timeout_ms = 1000, rise = 1, fall = 1 }`; without
    /// `path` a connection is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub check: Option<HealthCheck>,
    /// When the group as a whole is left alone and answered for by 503:
    /// `{ failure_percent = 50, requests_min = 20, window_ms = 10000, open_ms = 5000,
    /// probes = 3 }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub breaker: Option<Breaker>,
    /// Seconds over which a server that came back gets its full share.
    pub slow_start_s: u64,
    /// Most further attempts at a request: at any where no connection was made, else at idempotent
    /// ones of which no answer has begun.
    pub retries: u32,
    /// Further attempts as a share of all requests, in percent.
    pub retry_budget_percent: u32,
    /// When a GET or HEAD is asked of a second server too, because the first has not begun its
    /// answer: `{ after_ms = 50, budget_percent = 10 }`. What begins first is the answer, unless
    /// it is a 5xx and the other is still open; the other connection is closed. It is one of
    /// `retries` and within their budget, and asks no server that rests. Needs "http". Requests
    /// that Pingora's proxy passes on are never asked twice: those by HTTP/2, to routes with
    /// `cache`, from pages where `gateway.cors` is set, and all of them where `[compression]` has
    /// codings, or where `auth.mode` or some route has requests asked for credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub hedge: Option<Hedge>,
    /// Seconds that an idle connection is kept.
    pub keepalive_s: u64,
    /// "http" (HTTP/1.1), "h2c" (HTTP/2 without TLS, as for gRPC) or "tls".
    #[schema(value_type = String)]
    pub protocol: UpstreamProtocol,
    /// The name that a server's certificate must have, with "tls".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_name: Option<String>,
    /// Whether that certificate must be sound.
    pub tls_verify: bool,
    /// The `Host` that is sent; the client's without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            name: String::new(),
            servers: Vec::new(),
            policy: UpstreamPolicy::RoundRobin,
            hash_key: "ip".to_owned(),
            check: None,
            breaker: None,
            slow_start_s: 0,
            retries: 1,
            retry_budget_percent: 20,
            hedge: None,
            keepalive_s: 60,
            protocol: UpstreamProtocol::Http,
            tls_name: None,
            tls_verify: true,
            host: None,
        }
    }
}
