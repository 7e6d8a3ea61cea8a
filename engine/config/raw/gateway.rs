//! Owns the section `gateway` as it is typed.
//!
//! Refuses to judge values. Bound: one listener without TLS and one with it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::limits::{LimitInFlight, LimitRequests};

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
    /// Changed by a reload, as all limits; a zone that stays as it is keeps its counts.
    #[schema(value_type = Vec<Object>)]
    pub limit_requests: Vec<LimitRequests>,
    /// Zones that limit how many public requests are under way at a time, such as
    /// `[{ zone = "addr", at_most = 50 }]`; their `[[limits]]` have no rate. Changed
    /// by a reload.
    #[schema(value_type = Vec<Object>)]
    pub limit_in_flight: Vec<LimitInFlight>,
    /// The status of requests that a limit refuses: 429 or 503. Changed by a reload.
    pub limit_status: u16,
    /// Whether limits only count what they would refuse. Changed by a reload.
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
    /// A second public address, spoken to by TLS; empty for none. One that is not loopback needs
    /// `auth.mode = "required"`, `tls_client_ca` or `--insecure`.
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
    /// Which pages of other origins browsers let read answers, such as `{ origins =
    /// ["https://app.example.com"] }`; no origins: none. `credentials = true` cannot go with "*".
    /// Changed by a reload.
    #[schema(value_type = Object)]
    pub cors: Cors,
}

/// Which pages of other origins browsers let read answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Origins such as "https://app.example.com", or "*" for all.
    pub origins: Vec<String>,
    /// Methods that pages may use.
    pub methods: Vec<String>,
    /// Headers that pages may send.
    pub headers: Vec<String>,
    /// Whether pages may send cookies and client certificates.
    pub credentials: bool,
    /// Seconds for which a browser remembers it.
    pub max_age_s: u32,
}

impl Default for Cors {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Self {
            origins: Vec::new(),
            methods: texts(&["GET", "HEAD", "POST", "PUT", "DELETE"]),
            headers: texts(&["authorization", "content-type", "x-api-key"]),
            credentials: false,
            max_age_s: 600,
        }
    }
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
            cors: Cors::default(),
        }
    }
}
