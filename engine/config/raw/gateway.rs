//! Owns the section `gateway` as it is typed.
//!
//! Refuses to judge values. Bound: one listener without TLS and one with it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::limits::{LimitDay, LimitInFlight, LimitRequests};

/// Whether clients with TLS must have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// Each of them.
    Required,
    /// Those of routes that say so.
    Optional,
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
    /// File to which every public request is logged as a line. Empty: no access log. SIGUSR1 opens
    /// it anew, after it was renamed.
    pub access_log: String,
    /// How a line is written: "json", "combined" (as nginx and Apache do), or a text with variables
    /// by nginx's names, such as `$remote_addr [$time_local] "$request" $status $request_time`; a
    /// name that is not known is refused with a list of those that are. Changed by a reload.
    pub access_log_format: String,
    /// What is escaped in values, as in nginx: "default" (`\x22`), "json" or "none". Changed by a
    /// reload.
    pub access_log_escape: String,
    /// Paths whose requests are not logged. Changed by a reload.
    pub access_log_skip: Vec<String>,
    /// MiB of the file after which it is renamed to NAME.1 and a new one begun; 0 for never.
    pub access_log_rotate_mib: u64,
    /// Hours after which it is, counted from midnight UTC, such as 24 for every day; 0 for never.
    pub access_log_rotate_hours: u64,
    /// Files that are kept so, NAME.1 the newest.
    pub access_log_keep: u32,
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
    /// Zones that limit how many public requests a day has, such as
    /// `[{ zone = "daily", at_most = 10000 }]`; their `[[limits]]` have `window = "day"`. More are
    /// refused until midnight UTC. `truststram key list` shows what keys have used. Changed by a
    /// reload.
    #[schema(value_type = Vec<Object>)]
    pub limit_days: Vec<LimitDay>,
    /// The status of requests that a limit refuses: 429 or 503. Changed by a reload.
    pub limit_status: u16,
    /// Whether limits only count what they would refuse. Changed by a reload.
    pub limit_dry_run: bool,
    /// Seconds within which the head of a request, with a body of up to 16 KiB, or a TLS handshake
    /// must be complete.
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
    /// Whether connections of these proxies begin with a header of the PROXY protocol, version 1 or
    /// 2, that says for whom they connect; one that does not is closed. Other connections begin as
    /// usual.
    pub proxy_protocol: bool,
    /// A second public address, spoken to by TLS; empty for none. One that is not loopback needs
    /// `auth.mode = "required"`, `tls_client_ca` or `--insecure`. Changed by a reload, as
    /// `server.listen`.
    pub tls_listen: String,
    /// Whether requests without TLS are sent to the same address by TLS (308), all but those for
    /// `/.well-known/acme-challenge/`. Changed by a reload.
    pub https_redirect: bool,
    /// Certificates, chosen by the names in them, the first one for all other names:
    /// `[{ chain = "a.pem", key = "a.key", ocsp = "a.der" }]`, `ocsp` if there is one. Changed by a
    /// reload.
    #[schema(value_type = Vec<Object>)]
    pub certificates: Vec<Certificate>,
    /// Oldest version of TLS: "1.2" or "1.3". Changed by a reload.
    pub tls_min: String,
    /// Whether TLS sessions are resumed by tickets. Changed by a reload.
    pub tls_tickets: bool,
    /// PEM file of the authorities of clients, which are then asked for a certificate of theirs.
    /// Empty: none is. Changed by a reload; open connections keep what they showed.
    pub tls_client_ca: String,
    /// "required": each client needs one. "optional": those that have none are spoken to, and
    /// routes with `client_certificate = "required"` answer them 403; a certificate of others ends
    /// the handshake. Changed by a reload.
    #[schema(value_type = String)]
    pub tls_client_auth: ClientAuth,
    /// Seconds for which browsers that came by TLS are to come by it again; 0 does not say. Changed
    /// by a reload.
    pub hsts_s: u64,
    /// Whether public answers have `X-Frame-Options` and `X-Content-Type-Options`; what a server
    /// behind states itself stays. Changed by a reload.
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
    /// Origins such as `https://app.example.com`, or `*` for all.
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
            access_log_format: "json".to_owned(),
            access_log_escape: "default".to_owned(),
            access_log_skip: ["/health", "/livez", "/readyz"].map(str::to_owned).to_vec(),
            access_log_rotate_mib: 0,
            access_log_rotate_hours: 0,
            access_log_keep: 14,
            access_log_lines_max: 65_536,
            limit_requests: Vec::new(),
            limit_in_flight: Vec::new(),
            limit_days: Vec::new(),
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
            proxy_protocol: false,
            tls_listen: String::new(),
            https_redirect: false,
            certificates: Vec::new(),
            tls_min: "1.2".to_owned(),
            tls_tickets: true,
            tls_client_ca: String::new(),
            tls_client_auth: ClientAuth::Required,
            hsts_s: 31_536_000,
            security_headers: true,
            cors: Cors::default(),
        }
    }
}
