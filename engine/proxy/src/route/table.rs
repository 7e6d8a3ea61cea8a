//! Owns which route takes a request. The most specific host with a route that fits wins: an exact
//! one, then the longest `*.` suffix, then routes for all hosts. Of one host's routes an exact path
//! comes first, then regular expressions in the order of the file, then the longest prefix (the
//! order of nginx's locations); of one path's routes those with more conditions come first, then
//! the order of the file.
//!
//! Refuses to allocate while it looks. Bound: one look-up per label of the host and per length of
//! prefix, and one match per regular expression.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, Method};
use regex::Regex;

use super::compile::{HeaderTest, Route, compile, expression};
use super::path;
use super::spec::{Fault, PathSpec, RouteSpec, Scheme};
use crate::limit::{LimitSpec, Zones};
use crate::stats::RouteStats;
use crate::upstream::group::Group;

/// Longest name of a host.
pub(crate) const HOST_BYTES_MAX: usize = 253;

/// What is asked for; the host in lower case, the path in its one form.
pub(crate) struct Asked<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) scheme: Scheme,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Route(usize),
    /// Some would have taken another method.
    WrongMethod,
    Nothing,
}

/// What routes refer to.
pub(crate) struct Made<'a> {
    pub(crate) groups: &'a [Arc<Group>],
    pub(crate) zones: &'a Zones,
    pub(crate) limits: &'a LimitSpec,
}

/// All routes, compiled.
#[derive(Default)]
pub(crate) struct Routes {
    routes: Vec<Route>,
    hosts: HashMap<Box<str>, Paths>,
    suffixes: HashMap<Box<str>, Paths>,
    all_hosts: Paths,
}

/// The routes of one host, by path.
#[derive(Default)]
struct Paths {
    exact: HashMap<Box<str>, Vec<usize>>,
    regexes: Vec<(Regex, usize)>,
    prefixes: HashMap<Box<str>, Vec<usize>>,
    /// The lengths of all prefixes, the longest first.
    lengths: Vec<usize>,
}

impl Routes {
    /// Compiles all of `specs`; `stats` gives each its counts by name.
    pub(crate) fn compile(
        specs: &[RouteSpec],
        made: &Made<'_>,
        mut stats: impl FnMut(&str) -> Arc<RouteStats>,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let mut all = Self::default();
        for (index, spec) in specs.iter().enumerate() {
            let key = format!("routes[{index}]");
            if specs[..index].iter().any(|earlier| earlier.name == spec.name) {
                faults.push(Fault::new(format!("{key}.name"), "is taken already"));
            }
            let route = compile(spec, &key, made, stats(&spec.name), faults);
            // A route with faults leaves a gap; the table is thrown away with them.
            let place = all.routes.len();
            all.routes.extend(route);
            if spec.hosts.is_empty() {
                all.all_hosts.add(&spec.path, place, &key, faults);
            }
            for host in &spec.hosts {
                let name = host.to_ascii_lowercase();
                let suffix = name.strip_prefix("*.");
                if !is_host(suffix.unwrap_or(&name)) {
                    let message = format!("`{host}` is neither a host nor `*.` and a suffix");
                    faults.push(Fault::new(format!("{key}.hosts"), message));
                    continue;
                }
                let paths = match suffix {
                    Some(suffix) => all.suffixes.entry(suffix.into()).or_default(),
                    None => all.hosts.entry(name.into()).or_default(),
                };
                paths.add(&spec.path, place, &key, faults);
            }
        }
        if faults.is_empty() {
            all.sort();
        }
        all
    }

    fn sort(&mut self) {
        let conditions = |place: &usize| {
            let route = &self.routes[*place];
            let count = route.headers.len()
                + usize::from(!route.methods.is_empty())
                + usize::from(route.scheme.is_some());
            (std::cmp::Reverse(count), *place)
        };
        let hosts = self.hosts.values_mut().chain(self.suffixes.values_mut());
        for paths in hosts.chain([&mut self.all_hosts]) {
            for places in paths.exact.values_mut().chain(paths.prefixes.values_mut()) {
                places.sort_by_key(conditions);
            }
            paths.lengths = paths.prefixes.keys().map(|prefix| prefix.len()).collect();
            paths.lengths.sort_unstable_by(|one, other| other.cmp(one));
            paths.lengths.dedup();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Route> {
        self.routes.get(place)
    }

    pub(crate) fn all(&self) -> &[Route] {
        &self.routes
    }

    /// The route that takes the request.
    pub(crate) fn find(&self, asked: &Asked<'_>) -> Found {
        let mut best = Found::Nothing;
        let mut fits = |place: usize| match self.routes[place].fits(asked) {
            Fit::Yes => true,
            Fit::Method => {
                best = Found::WrongMethod;
                false
            }
            Fit::No => false,
        };
        let host = self.hosts.get(asked.host);
        let mut found = host.and_then(|paths| paths.find(asked.path, &mut fits));
        let mut rest = asked.host;
        while found.is_none()
            && !self.suffixes.is_empty()
            && let Some((_, suffix)) = rest.split_once('.')
        {
            let paths = self.suffixes.get(suffix);
            found = paths.and_then(|paths| paths.find(asked.path, &mut fits));
            rest = suffix;
        }
        let found = found.or_else(|| self.all_hosts.find(asked.path, &mut fits));
        found.map_or(best, Found::Route)
    }

    /// The methods that routes would have taken for what is asked, for `Allow`.
    pub(crate) fn allowed(&self, asked: &Asked<'_>) -> String {
        let (mut names, mut seen) = (Vec::new(), Vec::new());
        for method in self.routes.iter().flat_map(|route| &route.methods) {
            if seen.contains(&method) {
                continue;
            }
            seen.push(method);
            let other = Asked { method, ..*asked };
            if matches!(self.find(&other), Found::Route(_)) {
                names.push(method.as_str());
            }
        }
        names.join(", ")
    }
}

impl Paths {
    fn add(&mut self, path: &PathSpec, place: usize, key: &str, faults: &mut Vec<Fault>) {
        let plain = |text: &str| path::normalise(&Method::GET, text) == Ok(None);
        let (key, text) = match path {
            PathSpec::Exact(text) if plain(text) => {
                self.exact.entry(text.as_str().into()).or_default().push(place);
                return;
            }
            PathSpec::Prefix(text) if plain(text) => {
                self.prefixes.entry(text.as_str().into()).or_default().push(place);
                return;
            }
            PathSpec::Regex(pattern) => {
                match expression(pattern) {
                    Ok(regex) => self.regexes.push((regex, place)),
                    Err(why) => faults.push(Fault::new(format!("{key}.path_regex"), why)),
                }
                return;
            }
            PathSpec::Exact(text) => (format!("{key}.path_exact"), text),
            PathSpec::Prefix(text) => (format!("{key}.path"), text),
        };
        faults.push(Fault::new(key, format!("`{text}` is not a path in its plain form")));
    }

    fn find(&self, path: &str, fits: &mut impl FnMut(usize) -> bool) -> Option<usize> {
        let mut first = |places: Option<&Vec<usize>>| {
            places.into_iter().flatten().copied().find(|place| fits(*place))
        };
        if let Some(place) = first(self.exact.get(path)) {
            return Some(place);
        }
        for (regex, place) in &self.regexes {
            if regex.is_match(path) && fits(*place) {
                return Some(*place);
            }
        }
        for &length in self.lengths.iter().filter(|length| **length <= path.len()) {
            let Some(prefix) = path.get(..length) else { continue };
            // `/api` takes `/api` and `/api/x`, but not `/apix`.
            let ends =
                prefix.ends_with('/') || matches!(path.as_bytes().get(length), None | Some(b'/'));
            if !ends {
                continue;
            }
            let places = self.prefixes.get(prefix);
            if let Some(place) = places.into_iter().flatten().copied().find(|place| fits(*place)) {
                return Some(place);
            }
        }
        None
    }
}

enum Fit {
    Yes,
    /// All but the method.
    Method,
    No,
}

impl Route {
    fn fits(&self, asked: &Asked<'_>) -> Fit {
        let scheme = self.scheme.is_none_or(|scheme| scheme == asked.scheme);
        if !scheme || !self.headers.iter().all(|test| test.holds(asked.headers)) {
            return Fit::No;
        }
        let takes = |method: &Method| {
            method == asked.method || (method == Method::GET && asked.method == Method::HEAD)
        };
        if self.methods.is_empty() || self.methods.iter().any(takes) {
            return Fit::Yes;
        }
        Fit::Method
    }
}

impl HeaderTest {
    fn holds(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Any(name) => headers.contains_key(name),
            Self::Value(name, wanted) => headers.get_all(name).iter().any(|value| value == wanted),
            Self::Regex(name, regex) => headers
                .get_all(name)
                .iter()
                .any(|value| value.to_str().is_ok_and(|text| regex.is_match(text))),
        }
    }
}

fn is_host(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_v6 = name.starts_with('[') && name.ends_with(']');
    (1..=HOST_BYTES_MAX).contains(&name.len()) && (is_v6 || name.bytes().all(is_part))
}

/// The host of `authority` in lower case, without port and last dot; written into `buffer` where it
/// does not stand there like that.
pub(crate) fn host_of<'a>(authority: &'a str, buffer: &'a mut [u8; HOST_BYTES_MAX]) -> &'a str {
    let find = |wanted| authority.bytes().position(|byte| byte == wanted);
    let end = match find(b']') {
        Some(bracket) => bracket + 1,
        None => find(b':').unwrap_or(authority.len()),
    };
    let host = authority[..end].trim_end_matches('.');
    let Some(target) = buffer.get_mut(..host.len()) else { return "" };
    if !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return host;
    }
    target.copy_from_slice(host.as_bytes());
    target.make_ascii_lowercase();
    // It was a text, and changing the case of ASCII letters leaves it one.
    std::str::from_utf8(target).unwrap_or_default()
}

#[cfg(test)]
mod tests;
