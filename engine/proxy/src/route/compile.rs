//! Owns compiling one route: every value checked, expressions and names parsed once.
//!
//! Refuses to serve a route that means nothing: each fault is reported with its key. Bound: an
//! expression by the size limit of its library.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use regex::Regex;

use super::edit::{Edits, Rewrite, Template};
use super::path;
use super::spec::{ActionSpec, Fault, PathSpec, RewriteSpec, RouteSpec, Scheme, Timeouts, is_name};
use super::table::Made;
use crate::auth::RouteAuth;
use crate::cache::CacheRules;
use crate::direct::Prepared;
use crate::limiting::Gate;
use crate::overload::RoutePriority;
use crate::stats::RouteStats;
use crate::upstream::group::Group;

/// What a compiled route does.
pub(crate) enum Action {
    Local,
    Upstream(Arc<Group>),
    Redirect(u16, Template),
    /// Its body is shared by all who get it.
    Answer(u16, Bytes),
}

/// How a header must be.
#[derive(Debug)]
pub(crate) enum HeaderTest {
    Any(HeaderName),
    Value(HeaderName, HeaderValue),
    Regex(HeaderName, Regex),
}

/// A compiled route.
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) methods: Vec<Method>,
    pub(crate) headers: Vec<HeaderTest>,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) action: Action,
    pub(crate) rewrite: Rewrite,
    pub(crate) request_edits: Edits,
    pub(crate) response_edits: Edits,
    pub(crate) timeouts: Timeouts,
    pub(crate) body_bytes_max: Option<usize>,
    pub(crate) is_logged: bool,
    pub(crate) is_cached: bool,
    pub(crate) cache_rules: Arc<CacheRules>,
    pub(crate) auth: RouteAuth,
    pub(crate) priority: RoutePriority,
    /// What its requests must pass, after what all must.
    pub(crate) gate: Option<Gate>,
    pub(crate) stats: Arc<RouteStats>,
    /// Its fixed answer as bytes, without TLS and with it, once it was asked for; `None` where it
    /// has none.
    pub(crate) prepared: [OnceLock<Option<Prepared>>; 2],
}

/// Collects the faults of the route at `key`.
struct Faults<'a> {
    key: &'a str,
    found: &'a mut Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, part: &str, message: impl Into<String>) {
        self.found.push(Fault::new(format!("{}{part}", self.key), message));
    }

    fn take<T>(&mut self, part: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(part, message)).ok()
    }
}

/// Compiles `spec`; `key` is where it stands. `None` when there are faults.
pub(crate) fn compile(
    spec: &RouteSpec,
    key: &str,
    made: &Made<'_>,
    stats: Arc<RouteStats>,
    found: &mut Vec<Fault>,
) -> Option<Route> {
    let limits = made.zones.limits(key, &spec.limits, made.limits.is_dry_run, found);
    let mut faults = Faults { key, found };
    if !is_name(&spec.name) {
        faults.add(".name", "must be 1 to 64 characters");
    }
    if spec.is_cached && !spec.headers.is_empty() {
        let why = "cannot go with conditions on headers: answers are kept by host and path";
        faults.add(".cache", why);
    }
    let edits = spec.response_edits.set.iter().chain(&spec.response_edits.add);
    let is_personal = |value: &str| value.contains("remote_addr") || value.contains("request_id");
    if spec.is_cached && edits.into_iter().any(|(_, value)| is_personal(value)) {
        faults.add(".response_headers", "say what is of one request, and answers are cached");
    }
    let cache_rules = CacheRules::compile(&spec.cache_rules, &spec.name).map_err(|all| {
        all.into_iter().for_each(|(part, why)| faults.add(part, why));
    });
    let cache_rules = cache_rules.ok();
    let method = |name: &String| {
        let parsed = Method::from_bytes(name.as_bytes());
        parsed.map_err(|_| format!("`{name}` is no method"))
    };
    let methods: Vec<Option<Method>> =
        spec.methods.iter().map(|name| faults.take(".methods", method(name))).collect();
    let headers: Vec<Option<HeaderTest>> = spec
        .headers
        .iter()
        .map(|(name, value)| faults.take(".headers", header_test(name, value)))
        .collect();
    let action = action(spec, made.groups, &mut faults);
    let rewrite = rewrite(spec, &mut faults);
    let request_edits = faults.take(".request_headers", Edits::compile(&spec.request_edits));
    let response_edits = faults.take(".response_headers", Edits::compile(&spec.response_edits));
    Some(Route {
        name: spec.name.clone(),
        methods: methods.into_iter().collect::<Option<_>>()?,
        headers: headers.into_iter().collect::<Option<_>>()?,
        scheme: spec.scheme,
        action: action?,
        rewrite: rewrite?,
        request_edits: request_edits?,
        response_edits: response_edits?,
        timeouts: spec.timeouts,
        body_bytes_max: spec.body_bytes_max,
        is_logged: spec.is_logged,
        is_cached: spec.is_cached,
        cache_rules: cache_rules?,
        auth: spec.auth,
        priority: spec.priority,
        gate: Gate::new(limits, made.limits.status),
        stats,
        prepared: Default::default(),
    })
}

fn header_test(name: &str, value: &str) -> Result<HeaderTest, String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{name}` is no name of a header"))?;
    if value == "*" {
        return Ok(HeaderTest::Any(name));
    }
    match value.strip_prefix('~') {
        Some(pattern) => Ok(HeaderTest::Regex(name, expression(pattern.trim_start())?)),
        None => HeaderValue::from_str(value)
            .map(|value| HeaderTest::Value(name, value))
            .map_err(|_| format!("`{value}` is no value of a header")),
    }
}

pub(super) fn expression(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| format!("`{pattern}` is no expression: {error}"))
}

fn action(spec: &RouteSpec, groups: &[Arc<Group>], faults: &mut Faults<'_>) -> Option<Action> {
    match &spec.action {
        ActionSpec::Local => Some(Action::Local),
        ActionSpec::Upstream(name) => {
            let group = groups.iter().find(|group| group.name() == name);
            let known = group.ok_or_else(|| format!("no [[upstreams]] is named `{name}`"));
            faults.take(".upstream", known).map(|group| Action::Upstream(group.clone()))
        }
        ActionSpec::Redirect { status, to } => {
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                faults.add(".status", "a redirect has the status 301, 302, 303, 307 or 308");
            }
            let to = faults.take(".redirect", Template::parse(to))?;
            Some(Action::Redirect(*status, to))
        }
        ActionSpec::Answer { status, body } => {
            if !(200..=599).contains(status) {
                faults.add(".status", format!("must be 200 to 599, found {status}"));
            }
            Some(Action::Answer(*status, Bytes::from(body.clone())))
        }
    }
}

fn rewrite(spec: &RouteSpec, faults: &mut Faults<'_>) -> Option<Rewrite> {
    match &spec.rewrite {
        RewriteSpec::Keep => Some(Rewrite::Keep),
        RewriteSpec::ReplacePrefix(new) => {
            let PathSpec::Prefix(old) = &spec.path else {
                faults.add(".path", "only a prefix can be stripped or replaced");
                return None;
            };
            let is_path = new.is_empty() || path::normalise(&Method::GET, new) == Ok(None);
            if !is_path {
                faults.add(".replace_prefix", format!("`{new}` is not a path in its plain form"));
            }
            Some(Rewrite::Prefix(old.trim_end_matches('/').len(), new.clone()))
        }
        RewriteSpec::Regex { pattern, to } => {
            let pattern = faults.take(".rewrite_regex", expression(pattern))?;
            Some(Rewrite::Regex(pattern, to.clone()))
        }
    }
}
