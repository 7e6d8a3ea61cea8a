//! Owns `proxy_cache` and its family.
//!
//! Refuses a second cache: ours is one, in memory. Bound: one section.

use super::http::Conversion;
use super::parse::Directive;
use super::proxy::Scope;
use super::units;
use crate::config::raw::CacheLifetime;

/// Memory of the cache where nginx gives no size, and most that is taken over from a disk's.
const MIB_DEFAULT: usize = 256;
const MIB_MAX: usize = 1 << 20;
/// nginx's `inactive` where it is not given.
const INACTIVE_S: u64 = 600;
/// What sets the one cache.
const SETTINGS: &[&str] = &[
    "proxy_cache_valid",
    "proxy_cache_use_stale",
    "proxy_cache_background_update",
    "proxy_cache_lock",
    "proxy_cache_lock_timeout",
];
/// What keeps answers apart or out of the cache.
const CONDITIONS: &[&str] = &["proxy_cache_bypass", "proxy_no_cache", "proxy_cache_key"];
/// Variables of a key that ours tells apart as well.
const KEY_PARTS: &[&str] = &[
    "scheme",
    "proxy_host",
    "host",
    "http_host",
    "server_name",
    "uri",
    "is_args",
    "args",
    "request_uri",
    "request_method",
    "query_string",
    "document_uri",
];
/// Variables of conditions that RFC 9111 keeps.
const HARMLESS: &[&str] =
    &["http_upgrade", "http_pragma", "http_authorization", "http_cache_control", "is_args"];

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
        } else if SETTINGS.contains(&name) || CONDITIONS.contains(&name) {
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

    /// Whether a route whose level is `scope` is cached; if so, its settings become those of the
    /// cache.
    pub(super) fn cached(&mut self, scope: &Scope) -> bool {
        if !scope.is_cached {
            return false;
        }
        let mut is_safe = true;
        for one in scope.cache.iter().filter(|one| CONDITIONS.contains(&one.name.as_str())) {
            let known = if one.name == "proxy_cache_key" { KEY_PARTS } else { HARMLESS };
            let text = one.arguments.concat().replace(['{', '}'], "");
            let mut names = text.split('$').skip(1).map(|rest| {
                let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                &rest[..rest.find(|next| !is_word(next)).unwrap_or(rest.len())]
            });
            // A client that asks for a fresh answer gets one by `Cache-Control`.
            let is_refresh =
                |name: &str| one.name == "proxy_cache_bypass" && name.starts_with("http_");
            if names.all(|name| known.contains(&name) || is_refresh(name)) {
                self.note(one, "is left out: the cache keeps RFC 9111 and its own keys");
            } else {
                is_safe = false;
                self.note(one, "the cache has no such condition: these answers are not cached");
            }
        }
        if is_safe {
            let settings = scope.cache.iter().filter(|one| SETTINGS.contains(&one.name.as_str()));
            let settings: Vec<Directive> = settings.cloned().collect();
            settings.iter().for_each(|one| self.cache_setting(one));
            self.cache_uses.push(settings);
        }
        is_safe
    }

    /// Notes what was said where nothing is cached, and what now holds for more routes than it was
    /// said for.
    pub(super) fn end_cache(&mut self) {
        let uses = std::mem::take(&mut self.cache_uses);
        let is_same = |one: &Directive, other: &Directive| {
            one.name == other.name && one.arguments == other.arguments
        };
        for one in std::mem::take(&mut self.cache_seen) {
            let is_condition = CONDITIONS.contains(&one.name.as_str());
            if !uses.iter().any(|used| used.contains(&one)) && !is_condition {
                self.note(&one, "nothing is cached there");
            } else if !uses.iter().all(|used| used.iter().any(|other| is_same(&one, other)))
                && !is_condition
            {
                self.note(&one, "there is one cache: it holds for all cached routes");
            }
        }
    }

    /// A directive that sets the one cache.
    fn cache_setting(&mut self, directive: &Directive) {
        let first = directive.argument(0);
        match directive.name.as_str() {
            "proxy_cache_valid" => self.cache_valid(directive),
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

    fn cache_valid(&mut self, directive: &Directive) {
        let Some((time, statuses)) = directive.arguments.split_last() else {
            return self.note(directive, "has no time");
        };
        let Some(seconds) = units::seconds(time) else {
            return self.note(directive, "is not a time");
        };
        let usual = ["200".to_owned(), "301".to_owned(), "302".to_owned()];
        let statuses = if statuses.is_empty() { &usual[..] } else { statuses };
        for text in statuses {
            let Some(status) = text.parse().ok().filter(|status| (200..=599).contains(status))
            else {
                self.note(directive, format!("`{text}`: statuses are named one by one"));
                continue;
            };
            let lifetimes = &mut self.raw.cache.lifetimes;
            match lifetimes.iter().find(|one| one.status == status) {
                None => lifetimes.push(CacheLifetime { status, seconds }),
                Some(known) if known.seconds == seconds => {}
                Some(_) => {
                    self.note(directive, format!("{status} has another time already"));
                }
            }
        }
    }
}
