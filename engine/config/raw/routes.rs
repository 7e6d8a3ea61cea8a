//! Owns the keys of `[[routes]]`.
//!
//! Refuses to judge values; `plan` does. Bound: one list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::AuthMode;
use super::cache::CacheLifetime;
use super::limits::{LimitDay, LimitInFlight, LimitRequests};

/// The scheme by which a client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouteScheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// Which requests go first where more come than can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Those that can wait.
    Low,
    /// All others.
    Normal,
    /// Those that cannot.
    High,
}

/// Changes of headers, in this order: removed, set, added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderEdits {
    /// Names that are removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Values that replace what there was.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Values that come beside what there was.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, String>,
}

/// A route. The most specific one that fits takes a request: an exact host before the longest `*.`
/// suffix before routes for all hosts; an exact path before expressions in the order of the file
/// before the longest prefix; then more conditions before fewer. Without routes all requests are
/// answered here; with routes, what none takes is answered 404. A reload changes all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// The name in metrics and the access log.
    pub name: String,
    /// Hosts, exact or such as "*.example.com"; none for all.
    pub hosts: Vec<String>,
    /// A path with all below it. Give one of `path`, `path_exact` and `path_regex`, or none for
    /// all paths. Paths are compared as they are forwarded: decoded where that changes nothing,
    /// without empty, `.` and `..` segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// One path alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_exact: Option<String>,
    /// A regular expression for paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_regex: Option<String>,
    /// Methods; none for all. GET stands for HEAD too.
    pub methods: Vec<String>,
    /// Headers that a request must have: `{ x-version = "2" }`; "*" for any value, "~ EXPRESSION"
    /// for a match.
    #[schema(value_type = Object)]
    pub headers: BTreeMap<String, String>,
    /// "http" or "https"; none for both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub scheme: Option<RouteScheme>,
    /// Whether this process answers. Give one of `local`, `upstream`, `redirect` and `status`.
    pub local: bool,
    /// The name of the group whose servers answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Where the client is sent, such as "https://$host$request_uri". Variables, here and in
    /// values of headers: $host, $scheme, $remote_addr, $uri, $args, $request_uri, $request_id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
    /// The status of a redirect (301 without it), or of a fixed answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The text of a fixed answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether the path is passed on without `path` at its front.
    pub strip_prefix: bool,
    /// What is passed on in the place of `path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_prefix: Option<String>,
    /// An expression whose first match in the path gives way to `rewrite_to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite_regex: Option<String>,
    /// See `rewrite_regex`; `$1` is its first group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite_to: Option<String>,
    /// Changes of a request's headers:
    /// `{ remove = ["cookie"], set = { x-tenant = "a" }, add = { via = "1.1 $host" } }`.
    #[schema(value_type = Object)]
    pub request_headers: HeaderEdits,
    /// Changes of an answer's headers.
    #[schema(value_type = Object)]
    pub response_headers: HeaderEdits,
    /// Milliseconds for a connection to a server.
    pub connect_timeout_ms: u64,
    /// Milliseconds between two writes of the request to it.
    pub send_timeout_ms: u64,
    /// Milliseconds between two reads of its answer.
    pub read_timeout_ms: u64,
    /// Milliseconds for all attempts together; 0 for no limit.
    pub total_timeout_ms: u64,
    /// Largest body in bytes; 0 for `gateway.body_bytes_max`.
    pub body_bytes_max: usize,
    /// Whether requests are written to the access log.
    pub access_log: bool,
    /// Whether upstream answers are kept in the cache of `[cache]`.
    pub cache: bool,
    /// Seconds that answers are fresh where they do not say it themselves, as `cache.lifetimes` and
    /// in the place of all of it: `[{ status = 200, seconds = 600 }, { seconds = 30 }]`.
    #[schema(value_type = Vec<Object>)]
    pub cache_lifetimes: Vec<CacheLifetime>,
    /// Requests that the cache does not answer, though it keeps their answers: those that have one
    /// of these, neither empty nor "0": "cookie:NAME", "header:NAME", "arg:NAME" (of the query).
    pub cache_bypass: Vec<String>,
    /// Requests whose answers are not kept, in the same words.
    pub cache_no_store: Vec<String>,
    /// What answers are kept apart by, as in nginx's `proxy_cache_key`: "path", and whatever else
    /// makes them differ: "scheme", "host", "query" or single arguments of it ("arg:NAME"), "query"
    /// but some ("without:NAME", "without:utm_*"), "header:NAME", "cookie:NAME". Routes never share
    /// answers then. Without it ["scheme", "host", "path", "query"].
    pub cache_key: Vec<String>,
    /// From which request for it on an answer is kept, as nginx's `proxy_cache_min_uses`. Requests
    /// for 65536 answers are counted; what is asked for rarely makes room and counts anew.
    pub cache_min_uses: u32,
    /// "low": refused while the machine is under strain; "normal"; "high": never refused for that,
    /// nor made to wait. See `[overload]`.
    #[schema(value_type = String)]
    pub priority: Priority,
    /// "required" or "off": whether requests need a key; without it `auth.mode` decides, and
    /// redirects and fixed answers need none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub auth: Option<AuthMode>,
    /// "required": requests need TLS with a client certificate of `gateway.tls_client_ca`, whatever
    /// else they present; others are answered 403. See `gateway.tls_client_auth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_certificate: Option<AuthMode>,
    /// Whether a server gets the key of a request that needed one. It is told the user in
    /// `X-Authenticated-User` either way, which nobody else can set.
    pub forward_credentials: bool,
    /// Zones that limit how often its requests come, asked after those of the gateway and written
    /// as there. A zone that is used at several places counts the requests of all of them.
    #[schema(value_type = Vec<Object>)]
    pub limit_requests: Vec<LimitRequests>,
    /// Zones that limit how many of its requests are under way, as in the gateway.
    #[schema(value_type = Vec<Object>)]
    pub limit_in_flight: Vec<LimitInFlight>,
    /// Zones that limit how many of its requests a day has, as in the gateway.
    #[schema(value_type = Vec<Object>)]
    pub limit_days: Vec<LimitDay>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            name: String::new(),
            hosts: Vec::new(),
            path: None,
            path_exact: None,
            path_regex: None,
            methods: Vec::new(),
            headers: BTreeMap::new(),
            scheme: None,
            local: false,
            upstream: None,
            redirect: None,
            status: None,
            body: None,
            strip_prefix: false,
            replace_prefix: None,
            rewrite_regex: None,
            rewrite_to: None,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            connect_timeout_ms: 5_000,
            send_timeout_ms: 60_000,
            read_timeout_ms: 60_000,
            total_timeout_ms: 0,
            body_bytes_max: 0,
            access_log: true,
            cache: false,
            cache_lifetimes: Vec::new(),
            cache_bypass: Vec::new(),
            cache_no_store: Vec::new(),
            cache_key: Vec::new(),
            cache_min_uses: 1,
            priority: Priority::Normal,
            auth: None,
            client_certificate: None,
            forward_credentials: false,
            limit_requests: Vec::new(),
            limit_in_flight: Vec::new(),
            limit_days: Vec::new(),
        }
    }
}
