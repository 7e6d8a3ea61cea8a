//! Owns what an upstream group is before it is compiled: plain values, as a configuration gives
//! them.
//!
//! Refuses to judge them; compiling does. Bound: one group.

use std::time::Duration;

use http::HeaderName;

/// How a server is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// In turn, by weight, as evenly as weights allow (nginx's smooth weighted round robin).
    RoundRobin,
    /// The one with the fewest open requests for its weight.
    LeastConn,
    /// The better of two random ones, by a peak-sensitive average of latency and open requests.
    Ewma,
    /// Always the same one for the same key, as long as it is there.
    Hash(HashKey),
    /// By chance and weight.
    Random,
}

/// What [`Policy::Hash`] hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    Ip,
    /// The path.
    Path,
    /// A header; requests without it share one key.
    Header(HeaderName),
}

/// One server of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// Host or address, and port.
    pub address: String,
    /// Its share of requests against the others'.
    pub weight: u32,
    /// Whether it is asked only when no other can be.
    pub backup: bool,
    /// Failures within `fail_timeout` after which it is left alone as long; 0 never does.
    pub max_fails: u32,
    /// See `max_fails`.
    pub fail_timeout: Duration,
    /// Whether it takes no new requests.
    pub drain: bool,
}

/// Checks that a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSpec {
    /// Path of a GET that is answered 200 to 399; `None` only connects.
    pub path: Option<String>,
    /// From one check to the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Checks passed in a row that bring a server back.
    pub rise: u32,
    /// Checks failed in a row that take it out.
    pub fall: u32,
}

/// When a group as a whole is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSpec {
    /// Failed requests of a hundred that open it.
    pub failure_percent: u32,
    /// Requests in the window below which it never opens.
    pub requests_min: u32,
    /// Over how long requests are counted.
    pub window: Duration,
    /// How long it stays open.
    pub open: Duration,
    /// Requests that try it afterwards; all must succeed.
    pub probes: u32,
}

/// When a second server is asked beside one that has not begun its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeSpec {
    /// How long the first one is waited for.
    pub after: Duration,
    /// Second attempts as a share of all requests, in percent.
    pub budget_percent: u32,
}

/// How servers are spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS, as gRPC servers speak it.
    H2c,
    /// TLS, HTTP/2 or HTTP/1.1 as the server likes.
    Tls {
        /// The name that is asked for and that the certificate must have.
        name: String,
        /// Whether the certificate must be sound.
        verify: bool,
    },
}

/// An upstream group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// Its name in routes and metrics.
    pub name: String,
    /// Its servers.
    pub servers: Vec<ServerSpec>,
    /// How one is chosen.
    pub policy: Policy,
    /// Checks besides the requests themselves, if any.
    pub check: Option<CheckSpec>,
    /// When all of it is left alone, if ever.
    pub breaker: Option<BreakerSpec>,
    /// Over how long a server that came back gets its full share.
    pub slow_start: Duration,
    /// Most further attempts at one request.
    pub retries: u32,
    /// Further attempts as a share of all requests, in percent.
    pub retry_budget_percent: u32,
    /// When a second server is asked, if ever; one of `retries`, and within their budget.
    pub hedge: Option<HedgeSpec>,
    /// How long a connection is kept for the next request.
    pub keepalive: Duration,
    /// How servers are spoken to.
    pub protocol: Protocol,
    /// The `Host` that is sent; `None` sends the client's.
    pub host: Option<String>,
}

/// Whole microseconds.
pub(super) fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
