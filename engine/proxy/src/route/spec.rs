//! Owns what a route is before it is compiled: plain values, as a configuration gives them.
//!
//! Refuses to judge them; compiling does. Bound: one route.

use std::time::Duration;

use crate::auth::RouteAuth;
use crate::cache::CacheRuleSpec;
use crate::limit::UseSpec;
use crate::overload::RoutePriority;

/// A value of the configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, for example `routes[2].redirect`.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

/// Which paths a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathSpec {
    /// The path itself and what is below it.
    Prefix(String),
    /// This path alone.
    Exact(String),
    /// What a regular expression finds a match in.
    Regex(String),
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionSpec {
    /// The router of this process answers.
    Local,
    /// A server of the group of this name answers.
    Upstream(String),
    /// The client is sent elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Where to; may hold variables.
        to: String,
    },
    /// Always the same answer.
    Answer {
        /// Its status.
        status: u16,
        /// Its body, plain text.
        body: String,
    },
}

/// How the path is changed before it is passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RewriteSpec {
    /// Not at all.
    #[default]
    Keep,
    /// The prefix that matched gives way to this one.
    ReplacePrefix(String),
    /// The first match of the expression gives way to `to`, in which `$1` is the first group.
    Regex {
        /// The expression.
        pattern: String,
        /// What comes in its place.
        to: String,
    },
}

/// Whether routes and groups may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Changes of headers, in this order: removed, set, added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EditSpec {
    /// Names that are removed.
    pub remove: Vec<String>,
    /// Names and values that replace what there was; values may hold variables.
    pub set: Vec<(String, String)>,
    /// Names and values that come beside what there was; values may hold variables.
    pub add: Vec<(String, String)>,
}

/// How long an upstream server may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// Between two writes of the request.
    pub send: Duration,
    /// Between two reads of the answer.
    pub read: Duration,
    /// For all of it, retries included; a read that has begun may outlast it by `read`.
    pub total: Option<Duration>,
}

/// The scheme by which the client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// Its name in metrics.
    pub name: String,
    /// Hosts, exact or `*.` and a suffix; none for all.
    pub hosts: Vec<String>,
    /// Paths.
    pub path: PathSpec,
    /// Methods; none for all. GET stands for HEAD too.
    pub methods: Vec<String>,
    /// Headers that the request must have: `*` for any value, `~` and an expression, or the value.
    pub headers: Vec<(String, String)>,
    /// The scheme; `None` for both.
    pub scheme: Option<Scheme>,
    /// What it does.
    pub action: ActionSpec,
    /// How the path is changed.
    pub rewrite: RewriteSpec,
    /// Changes of the request's headers.
    pub request_edits: EditSpec,
    /// Changes of the answer's headers.
    pub response_edits: EditSpec,
    /// How long an upstream server may take.
    pub timeouts: Timeouts,
    /// Largest body; `None` for the listener's.
    pub body_bytes_max: Option<usize>,
    /// Whether requests are written to the access log.
    pub is_logged: bool,
    /// Whether upstream answers are kept, where the listener has a cache.
    pub is_cached: bool,
    /// What it says of those that are kept.
    pub cache_rules: CacheRuleSpec,
    /// Whether a request must say who it is from.
    pub auth: RouteAuth,
    /// Which of its requests are refused, or wait, where more come than can be done.
    pub priority: RoutePriority,
    /// How often and how many at a time its requests may come, beside what holds for all.
    pub limits: UseSpec,
}
