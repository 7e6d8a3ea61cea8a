//! Owns `proxy_cache` and its family.
//!
//! Refuses a second cache: ours is one, in memory. Bound: one section.

use super::cache_key::cache_key;
use super::http::Conversion;
use super::parse::Directive;
use super::proxy::Scope;
use super::units;
use crate::config::plan::kept::{SECONDS_MAX, USES_MAX};
use crate::config::raw::{CacheLifetime, Route};

/// Memory of the cache where nginx gives no size, and most that is taken over from a disk's.
const MIB_DEFAULT: usize = 256;
const MIB_MAX: usize = 1 << 20;
/// nginx's `inactive` where it is not given.
const INACTIVE_S: u64 = 600;
/// What sets the one cache.
const SETTINGS: &[&str] = &[
    "proxy_cache_use_stale",
    "proxy_cache_background_update",
    "proxy_cache_lock",
    "proxy_cache_lock_timeout",
];
/// What single routes say of it.
const OF_ROUTES: &[&str] = &[
    "proxy_cache_valid",
    "proxy_cache_min_uses",
    "proxy_cache_bypass",
    "proxy_no_cache",
    "proxy_cache_key",
];
/// What keeps answers apart or out of the cache.
const CONDITIONS: &[&str] = &["proxy_cache_bypass", "proxy_no_cache", "proxy_cache_key"];

impl Conversion {
    pub(super) fn cache_path(&mut self, directive: &Directive) {
        let (mut mib, mut inactive_s, mut left) = (MIB_DEFAULT, INACTIVE_S, Vec::new());
        for argument in directive.arguments.iter().skip(1) {
            match argument.split_once('=') {
                Some(("max_size", size)) => mib = units::mib(size).unwrap_or(mib).min(MIB_MAX),
                Some(("inactive", time)) => {
                    inactive_s = units::seconds(time).unwrap_or(inactive_s);
                }
                Some(("keys_zone", _)) => {}
                _ => left.push(argument.as_str()),
            }
        }
        let left = if left.is_empty() {
            String::new()
        } else {
            format!("; without counterpart: {}", left.join(" "))
        };
        if self.inactive_s.is_some() {
            return self.note(directive, "there is one cache");
        }
        self.inactive_s = Some(inactive_s);
        self.raw.cache.memory_mib = mib.min(MIB_DEFAULT);
        self.raw.cache.disk_mib = mib as u64;
        self.raw.cache.lock = false;
        self.note(
            directive,
            format!("files are in `cache.disk_dir`, and answers in memory too{left}"),
        );
    }

    /// Takes a directive of the cache into `scope`; `false` if it is none of those converted.
    pub(super) fn cache_scoped(&mut self, scope: &mut Scope, directive: &Directive) -> bool {
        let name = directive.name.as_str();
        if name == "proxy_cache" {
            let is_on = directive.argument(0) != "off";
            scope.is_cached = is_on && self.inactive_s.is_some();
            if is_on && self.inactive_s.is_none() {
                self.note(directive, "there is no `proxy_cache_path`");
            }
        } else if holds_anyway(directive) {
            return true;
        } else if SETTINGS.contains(&name) || OF_ROUTES.contains(&name) {
            if !scope.own_cache.contains(&directive.name) {
                scope.own_cache.push(directive.name.clone());
                scope.cache.retain(|other| other.name != directive.name);
            }
            scope.cache.push(directive.clone());
            self.cache_seen.push(directive.clone());
        } else {
            return false;
        }
        true
    }

    /// Says of `route`, whose level is `scope`, whether and how it is cached; if it is, the
    /// settings of that level become those of the cache.
    pub(super) fn cached(&mut self, scope: &Scope, route: &mut Route) {
        if !scope.is_cached {
            return;
        }
        let (mut bypass, mut no_store, mut key) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_safe = true;
        for one in scope.cache.iter().filter(|one| CONDITIONS.contains(&one.name.as_str())) {
            let mut names = variables(&one.arguments.concat());
            if one.name != "proxy_cache_key" && names.iter().any(|name| name == "http_upgrade") {
                self.note(one, "`$http_upgrade` is left out: upgrades never go by the cache");
                names.retain(|name| name != "http_upgrade");
            }
            let words: Option<Vec<String>> = names.iter().map(|name| condition(name)).collect();
            match (one.name.as_str(), words) {
                ("proxy_cache_key", _) => match cache_key(&names) {
                    Ok(parts) => key = parts,
                    Err(why) => {
                        is_safe = false;
                        self.note(one, format!("{why}: these answers are not cached"));
                    }
                },
                ("proxy_cache_bypass", Some(words)) if is_plain(one) => bypass.extend(words),
                ("proxy_no_cache", Some(words)) if is_plain(one) => no_store.extend(words),
                _ => {
                    is_safe = false;
                    self.note(one, "the cache has no such condition: these answers are not cached");
                }
            }
        }
        if !is_safe {
            return;
        }
        let settings = scope.cache.iter().filter(|one| !CONDITIONS.contains(&one.name.as_str()));
        let settings: Vec<Directive> = settings.cloned().collect();
        settings.iter().for_each(|one| self.cache_setting(one));
        let mut lifetimes = Vec::new();
        for one in settings.iter().filter(|one| one.name == "proxy_cache_valid") {
            self.cache_valid(one, &mut lifetimes);
        }
        for one in settings.iter().filter(|one| one.name == "proxy_cache_min_uses") {
            match one.argument(0).parse::<u32>() {
                Ok(uses) if (1..=USES_MAX).contains(&uses) => route.cache_min_uses = uses,
                _ => self.note(one, format!("is not 1 to {USES_MAX}")),
            }
        }
        self.cache_uses.push(settings);
        route.cache = true;
        route.cache_lifetimes = lifetimes;
        (route.cache_bypass, route.cache_no_store) = (bypass, no_store);
        route.cache_key = key;
    }

    /// Lifetimes that all cached routes have alike are those of the cache.
    fn gather_lifetimes(&mut self) {
        let mut cached: Vec<&mut Route> =
            self.raw.routes.iter_mut().filter(|route| route.cache).collect();
        let Some(first) = cached.first().map(|route| route.cache_lifetimes.clone()) else { return };
        if cached.iter().all(|route| route.cache_lifetimes == first) {
            cached.iter_mut().for_each(|route| route.cache_lifetimes.clear());
            self.raw.cache.lifetimes = first;
        }
    }

    /// Notes what was said where nothing is cached, and what now holds for more routes than it was
    /// said for.
    pub(super) fn end_cache(&mut self) {
        self.gather_lifetimes();
        let uses = std::mem::take(&mut self.cache_uses);
        let is_same = |one: &Directive, other: &Directive| {
            one.name == other.name && one.arguments == other.arguments
        };
        for one in std::mem::take(&mut self.cache_seen) {
            let name = one.name.as_str();
            if CONDITIONS.contains(&name) {
                continue;
            }
            if !uses.iter().any(|used| used.contains(&one)) {
                self.note(&one, "nothing is cached there");
            } else if !OF_ROUTES.contains(&name)
                && !uses.iter().all(|used| used.iter().any(|other| is_same(&one, other)))
            {
                self.note(&one, "there is one cache: it holds for all cached routes");
            }
        }
    }

    /// A directive that sets the one cache.
    fn cache_setting(&mut self, directive: &Directive) {
        let first = directive.argument(0);
        match directive.name.as_str() {
            "proxy_cache_use_stale" => {
                let inactive_s = self.inactive_s.unwrap_or(INACTIVE_S);
                for word in &directive.arguments {
                    match word.as_str() {
                        "off" => {}
                        "updating" => self.raw.cache.stale_while_revalidate_s = inactive_s,
                        "error" | "timeout" | "http_500" | "http_502" | "http_503" | "http_504" => {
                            self.raw.cache.stale_if_error_s = inactive_s;
                        }
                        _ => self.note(directive, format!("`{word}` has no counterpart")),
                    }
                }
            }
            "proxy_cache_background_update" if first == "on" => {
                self.raw.cache.stale_while_revalidate_s = self.inactive_s.unwrap_or(INACTIVE_S);
            }
            "proxy_cache_lock" if self.is_first(directive, "cache.lock", first) => {
                self.raw.cache.lock = first == "on";
            }
            "proxy_cache_lock_timeout" => match units::seconds(first) {
                Some(time) if (1..=3_600).contains(&time) => {
                    if self.is_first(directive, "cache.lock_timeout_s", first) {
                        self.raw.cache.lock_timeout_s = time;
                    }
                }
                _ => self.note(directive, "must be 1 s to 1 h"),
            },
            _ => {}
        }
    }

    /// Adds what a directive says of lifetimes. As in nginx, the first that fits a status counts.
    fn cache_valid(&mut self, directive: &Directive, lifetimes: &mut Vec<CacheLifetime>) {
        let Some((time, statuses)) = directive.arguments.split_last() else {
            return self.note(directive, "has no time");
        };
        let Some(seconds) = units::seconds(time).filter(|seconds| *seconds <= SECONDS_MAX) else {
            return self.note(directive, "is not a time of 0 s to 68 years");
        };
        let usual = ["200".to_owned(), "301".to_owned(), "302".to_owned()];
        let statuses = if statuses.is_empty() { &usual[..] } else { statuses };
        for text in statuses {
            let status = text.parse().ok().filter(|status| (200..=599).contains(status));
            if status.is_none() && text != "any" {
                self.note(directive, format!("`{text}` is no status from 200 to 599, nor `any`"));
                continue;
            }
            let earlier = |one: &&CacheLifetime| one.status == status || one.status.is_none();
            match lifetimes.iter().find(earlier) {
                None => lifetimes.push(CacheLifetime { status, seconds }),
                Some(known) if known.seconds == seconds => {}
                Some(_) => self.note(directive, format!("{text} has another time already")),
            }
        }
    }
}

/// Whether it says what the cache does without it.
fn holds_anyway(directive: &Directive) -> bool {
    match directive.name.as_str() {
        "proxy_cache_methods" => {
            directive.arguments.iter().all(|method| method == "GET" || method == "HEAD")
        }
        _ => false,
    }
}

/// Whether it is made of variables alone.
fn is_plain(directive: &Directive) -> bool {
    let is_of_names = |text: &String| {
        text.starts_with('$') && !text.contains(|next| !is_word(next) && next != '$')
    };
    directive.arguments.iter().all(is_of_names)
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The names of the variables in `text`.
fn variables(text: &str) -> Vec<String> {
    let names = text.split('$').skip(1).map(|rest| rest.strip_prefix('{').unwrap_or(rest));
    names.map(|rest| rest.chars().take_while(|letter| is_word(*letter)).collect()).collect()
}

/// What a route calls the variable `name`.
pub(super) fn condition(name: &str) -> Option<String> {
    let named = |start: &str| name.strip_prefix(start).filter(|rest| !rest.is_empty());
    match (named("http_"), named("cookie_"), named("arg_")) {
        (Some(name), _, _) => Some(format!("header:{}", name.replace('_', "-"))),
        (_, Some(name), _) => Some(format!("cookie:{name}")),
        (_, _, Some(name)) => Some(format!("arg:{name}")),
        _ => None,
    }
}
