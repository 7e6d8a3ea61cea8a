//! Owns `proxy_cache` and its family.
//!
//! Refuses a second cache: ours is one, in memory. Bound: one section.

use super::http::Conversion;
use super::parse::Directive;
use super::units;
use crate::config::raw::CacheLifetime;

/// Memory of the cache where nginx gives no size, and most that is taken over from a disk's.
const MIB_DEFAULT: usize = 256;
const MIB_MAX: usize = 1_024;
/// nginx's `inactive` where it is not given.
const INACTIVE_S: u64 = 600;

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
        self.raw.cache.memory_mib = mib;
        self.raw.cache.lock = false;
        self.note(
            directive,
            format!("answers are kept in {mib} MiB of memory, not in files{left}"),
        );
    }

    /// A directive that sets the one cache; `false` if it is none of them.
    pub(super) fn cache_setting(&mut self, directive: &Directive) -> bool {
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
            "proxy_cache_lock" => {
                if self.is_first(directive, "cache.lock", first) {
                    self.raw.cache.lock = first == "on";
                }
            }
            "proxy_cache_lock_timeout" => match units::seconds(first) {
                Some(time) if (1..=3_600).contains(&time) => {
                    if self.is_first(directive, "cache.lock_timeout_s", first) {
                        self.raw.cache.lock_timeout_s = time;
                    }
                }
                _ => self.note(directive, "must be 1 s to 1 h"),
            },
            _ => return false,
        }
        true
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
