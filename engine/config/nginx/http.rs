//! Owns the levels above servers: the file, `http`, and what is one value for the whole process.
//!
//! Refuses a second, different value of what we have once. Bound: one value per key.

use std::collections::HashMap;
use std::path::PathBuf;

use super::notes::{Note, reason};
use super::parse::Directive;
use super::protect::protects;
use super::proxy::Scope;
use super::{Converted, units};
use crate::config::raw::Raw;

/// nginx's own defaults where they differ from ours.
const BODY_BYTES: usize = 1 << 20;
const KEEPALIVE_S: u64 = 75;
const KEEPALIVE_REQUESTS: u32 = 1_000;

/// A conversion under way.
pub(super) struct Conversion {
    pub(super) raw: Raw,
    /// Paths in the file start here.
    pub(super) folder: PathBuf,
    pub(super) idle_max: Option<usize>,
    pub(super) limit_status: Option<u16>,
    pub(super) inactive_s: Option<u64>,
    /// Directives of the cache, all of them and those of each cached route.
    pub(super) cache_seen: Vec<Directive>,
    pub(super) cache_uses: Vec<Vec<Directive>>,
    notes: Vec<Note>,
    weaker: Vec<Note>,
    once: HashMap<String, String>,
}

impl Conversion {
    pub(super) fn new(folder: PathBuf) -> Self {
        let mut raw = Raw::default();
        let gateway = &mut raw.gateway;
        gateway.body_bytes_max = BODY_BYTES;
        gateway.keepalive_s = KEEPALIVE_S;
        gateway.keepalive_requests = KEEPALIVE_REQUESTS;
        // The file says which of these headers there are.
        gateway.security_headers = false;
        gateway.hsts_s = 0;
        Self {
            raw,
            folder,
            idle_max: None,
            limit_status: None,
            inactive_s: None,
            cache_seen: Vec::new(),
            cache_uses: Vec::new(),
            notes: Vec::new(),
            weaker: Vec::new(),
            once: HashMap::new(),
        }
    }

    pub(super) fn note(&mut self, directive: &Directive, why: impl Into<String>) {
        let note = Note::new(directive, why);
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// What protects and is left out.
    pub(super) fn weakens(&mut self, directive: &Directive, why: &str) {
        let note = Note::new(directive, why);
        if !self.weaker.contains(&note) {
            self.weaker.push(note);
        }
    }

    pub(super) fn unknown(&mut self, directive: &Directive) {
        if directive.name == "if" && protects(directive) {
            let why = "has no counterpart: whom it refuses would be let in; write a route for it";
            return self.weakens(directive, why);
        }
        self.note(directive, reason(&directive.name));
    }

    /// Whether `key`, which there is once, has no other value yet.
    pub(super) fn is_first(&mut self, directive: &Directive, key: &str, value: &str) -> bool {
        match self.once.get(key) {
            Some(known) if known != value => {
                self.note(directive, format!("there is one `{key}`, and it is `{known}` already"));
                false
            }
            _ => {
                self.once.insert(key.to_owned(), value.to_owned());
                true
            }
        }
    }

    /// A path of the file as the process would find it.
    pub(super) fn path(&self, text: &str) -> String {
        self.folder.join(text).display().to_string()
    }

    /// The outermost level.
    pub(super) fn main(&mut self, directives: &[Directive]) {
        for directive in directives {
            if directive.name == "http" && directive.block.is_some() {
                self.http(directive.inside());
            } else {
                self.unknown(directive);
            }
        }
    }

    fn http(&mut self, directives: &[Directive]) {
        let mut scope = Scope::default();
        let (zones, others): (Vec<_>, Vec<_>) = directives.iter().partition(|directive| {
            matches!(
                directive.name.as_str(),
                "upstream" | "limit_req_zone" | "limit_conn_zone" | "proxy_cache_path"
            )
        });
        for directive in zones {
            match directive.name.as_str() {
                "upstream" => self.upstream(directive),
                "proxy_cache_path" => self.cache_path(directive),
                _ => self.limit_zone(directive),
            }
        }
        let (servers, others): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|directive| directive.name == "server" && directive.block.is_some());
        for directive in others {
            match directive.name.as_str() {
                "client_max_body_size" => match body_bytes(directive.argument(0)) {
                    Some(bytes) => self.raw.gateway.body_bytes_max = bytes,
                    None => self.note(directive, "a body is 1 byte to 256 MiB long"),
                },
                _ if self.setting(&mut scope, directive) => {}
                _ => self.unknown(directive),
            }
        }
        self.servers(&servers, &scope);
    }

    /// What any level may have; `false` if the directive is none of it.
    pub(super) fn setting(&mut self, scope: &mut Scope, directive: &Directive) -> bool {
        if matches!(directive.name.as_str(), "limit_req" | "limit_conn") {
            self.limit(scope, directive);
            return true;
        }
        self.scoped(scope, directive)
            || self.protection(scope, directive)
            || self.cache_scoped(scope, directive)
            || self.single(directive)
    }

    /// What there is once for the process.
    fn single(&mut self, directive: &Directive) -> bool {
        let first = directive.argument(0).to_owned();
        let name = directive.name.as_str();
        match name {
            "keepalive_timeout"
            | "client_header_timeout"
            | "client_body_timeout"
            | "send_timeout" => {
                let most = if name == "keepalive_timeout" { 86_400 } else { 3_600 };
                let Some(time) = units::seconds(&first).filter(|time| (1..=most).contains(time))
                else {
                    self.note(directive, format!("must be 1 to {most} s"));
                    return true;
                };
                if directive.arguments.len() > 1 {
                    self.note(directive, "answers have no `Keep-Alive` with a second time");
                }
                if self.is_first(directive, name, &first) {
                    let gateway = &mut self.raw.gateway;
                    *match name {
                        "keepalive_timeout" => &mut gateway.keepalive_s,
                        "client_header_timeout" => &mut gateway.head_timeout_s,
                        "client_body_timeout" => &mut gateway.read_timeout_s,
                        _ => &mut gateway.write_timeout_s,
                    } = time;
                }
            }
            "keepalive_requests" => match first.parse() {
                Ok(count) if self.is_first(directive, name, &first) => {
                    self.raw.gateway.keepalive_requests = count;
                }
                Ok(_) => {}
                Err(_) => self.note(directive, "is not a number"),
            },
            "limit_req_status" | "limit_conn_status" => self.limit_status(directive),
            "limit_req_dry_run" | "limit_conn_dry_run" => {
                if self.is_first(directive, "limit_dry_run", &first) {
                    self.raw.gateway.limit_dry_run = first == "on";
                }
            }
            "set_real_ip_from" => {
                let address = first.split('/').next().unwrap_or_default();
                if address.parse::<std::net::IpAddr>().is_err() {
                    self.note(directive, "only addresses and networks are believed");
                } else if !self.raw.gateway.trusted_proxies.contains(&first) {
                    self.raw.gateway.trusted_proxies.push(first);
                }
            }
            "real_ip_header" => {
                let header = first.to_ascii_lowercase();
                if !["x-forwarded-for", "x-real-ip", "forwarded"].contains(&header.as_str()) {
                    self.note(directive, "is not a header that clients are read from");
                } else if self.is_first(directive, name, &header) {
                    self.raw.gateway.real_ip_header = header;
                }
            }
            // Trusted proxies in the list are always passed over.
            "real_ip_recursive" if first == "on" => {}
            "real_ip_recursive" => {
                self.note(directive, "trusted proxies in the list are always passed over");
            }
            _ => return false,
        }
        true
    }

    /// Ends the conversion.
    pub(super) fn finish(mut self) -> Converted {
        let gateway = &mut self.raw.gateway;
        if let Some(most) = self.idle_max {
            gateway.upstream_idle_max = most.clamp(1, 1 << 16);
        }
        self.gather_limits();
        self.end_cache();
        let order =
            |one: &Note, other: &Note| (&one.file, one.line).cmp(&(&other.file, other.line));
        self.notes.sort_by(order);
        self.weaker.sort_by(order);
        Converted { raw: self.raw, notes: self.notes, weaker: self.weaker }
    }
}

/// Bytes of a largest body that we can have.
pub(super) fn body_bytes(text: &str) -> Option<usize> {
    let bytes = usize::try_from(units::bytes(text)?).ok()?;
    (1..=truststram_base::limits::BODY_BYTES_MAX).contains(&bytes).then_some(bytes)
}
