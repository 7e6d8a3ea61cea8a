//! Owns what the gateway counts: connections, requests by status class and route, and time.
//!
//! Refuses to know exposition formats. Bound: a fixed set of atomics, shared by all network
//! threads of one listener; and one of each route.

use truststram_base::{Counter, Gauge, Histogram};

/// The classes that requests are counted in, by the first digit of their status.
pub const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Upper bounds of the request time buckets, in microseconds.
pub(crate) const DURATION_BOUNDS_US: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// Counts of one listener.
#[derive(Debug)]
pub struct GatewayStats {
    /// Connections accepted since the start.
    pub connections_accepted: Counter,
    /// Connections open now.
    pub connections_open: Gauge,
    /// Open connections that have asked nothing yet.
    pub connections_fresh: Gauge,
    /// Times that `accept` failed, for example for want of descriptors.
    pub accept_failures: Counter,
    /// Connections whose TLS handshake failed.
    pub handshake_failures: Counter,
    /// Connections of trusted proxies that did not begin as the PROXY protocol says.
    pub proxy_headers_bad: Counter,
    /// Connections ended because a request's head did not arrive in time.
    pub heads_late: Counter,
    /// Answered requests by status class, in the order of [`STATUS_CLASSES`].
    pub requests: [Counter; 5],
    /// Requests whose answer could not be sent whole.
    pub broken: Counter,
    /// Requests that the connection's own task answered: at hand, or by the router.
    pub direct: Counter,
    /// Requests that were passed on to a server without Pingora's proxy.
    pub passed: Counter,
    /// From the request's head being read to its answer being written, microseconds.
    pub duration_us: Histogram,
}

impl GatewayStats {
    pub(crate) const fn new() -> Self {
        Self {
            connections_accepted: Counter::new(),
            connections_open: Gauge::new(),
            connections_fresh: Gauge::new(),
            accept_failures: Counter::new(),
            handshake_failures: Counter::new(),
            proxy_headers_bad: Counter::new(),
            heads_late: Counter::new(),
            requests: [const { Counter::new() }; 5],
            broken: Counter::new(),
            direct: Counter::new(),
            passed: Counter::new(),
            duration_us: Histogram::new(DURATION_BOUNDS_US),
        }
    }

    pub(crate) fn answered(&self, status: u16, duration_us: u64) {
        self.requests[class_of(status)].add(1);
        self.duration_us.observe(duration_us);
    }
}

fn class_of(status: u16) -> usize {
    usize::from(status / 100).clamp(1, 5) - 1
}

/// Counts of one route.
#[derive(Debug)]
pub struct RouteStats {
    /// Answered requests by status class, in the order of [`STATUS_CLASSES`].
    pub requests: [Counter; 5],
    /// From the request's head being read to its answer being written, microseconds.
    pub duration_us: Histogram,
}

impl RouteStats {
    pub(crate) const fn new() -> Self {
        Self {
            requests: [const { Counter::new() }; 5],
            duration_us: Histogram::new(DURATION_BOUNDS_US),
        }
    }

    pub(crate) fn answered(&self, status: u16, duration_us: u64) {
        self.requests[class_of(status)].add(1);
        self.duration_us.observe(duration_us);
    }
}
