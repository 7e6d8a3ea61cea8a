//! Owns what a location inherits from its server and from `http`: headers, times, limits of one
//! route. As in nginx a level with headers of its own inherits none.
//!
//! Refuses variables that we have not. Bound: the directives of three levels.

use super::http::{Conversion, body_bytes};
use super::parse::Directive;
use super::protect::Protection;
use super::units;
use crate::config::raw::{LimitInFlight, LimitRequests, Route};

/// nginx's `proxy_connect_timeout` where it is not given.
const CONNECT_MS: u64 = 60_000;
const MS_MAX: u64 = 86_400_000;

/// Variables that routes know by the same names.
const VARIABLES: [&str; 7] =
    ["host", "scheme", "remote_addr", "uri", "args", "request_uri", "request_id"];

/// What holds at a level.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    request: Vec<Directive>,
    response: Vec<Directive>,
    has_own_request: bool,
    has_own_response: bool,
    connect_ms: Option<u64>,
    send_ms: Option<u64>,
    read_ms: Option<u64>,
    body_bytes: Option<usize>,
    is_unlogged: bool,
    hidden: Vec<Directive>,
    has_own_hidden: bool,
    pub(super) is_cached: bool,
    /// Settings of the cache, and which of them this level has itself.
    pub(super) cache: Vec<Directive>,
    pub(super) own_cache: Vec<String>,
    pub(super) rates: Vec<LimitRequests>,
    pub(super) has_own_rates: bool,
    pub(super) places: Vec<LimitInFlight>,
    pub(super) has_own_places: bool,
    pub(super) protection: Protection,
    /// Most further attempts, and who says so.
    pub(super) retries: Option<(u32, Directive)>,
    /// The first name of the server.
    pub(super) server_name: String,
    pub(super) tls_name: Option<String>,
    pub(super) tls_verify: bool,
}

impl Scope {
    /// The level below.
    pub(super) fn child(&self) -> Self {
        Self {
            has_own_request: false,
            has_own_response: false,
            has_own_hidden: false,
            own_cache: Vec::new(),
            has_own_rates: false,
            has_own_places: false,
            protection: self.protection.child(),
            ..self.clone()
        }
    }
}

impl Conversion {
    /// Takes a directive into `scope`; `false` if it is not for one.
    pub(super) fn scoped(&mut self, scope: &mut Scope, directive: &Directive) -> bool {
        let first = directive.argument(0);
        match directive.name.as_str() {
            "proxy_set_header" => {
                if !std::mem::replace(&mut scope.has_own_request, true) {
                    scope.request.clear();
                }
                scope.request.push(directive.clone());
            }
            "add_header" => {
                if !std::mem::replace(&mut scope.has_own_response, true) {
                    scope.response.clear();
                }
                scope.response.push(directive.clone());
            }
            "proxy_connect_timeout" => scope.connect_ms = self.time(directive),
            "proxy_send_timeout" => scope.send_ms = self.time(directive),
            "proxy_read_timeout" => scope.read_ms = self.time(directive),
            "client_max_body_size" => {
                scope.body_bytes = body_bytes(first);
                if scope.body_bytes.is_none() {
                    self.note(directive, "a body is 1 byte to 256 MiB long");
                }
            }
            "access_log" => self.access_log(scope, directive),
            "proxy_hide_header" => {
                if !std::mem::replace(&mut scope.has_own_hidden, true) {
                    scope.hidden.clear();
                }
                scope.hidden.push(directive.clone());
            }
            "proxy_next_upstream" => {
                for word in &directive.arguments {
                    match word.as_str() {
                        "error" | "timeout" => {}
                        "off" => scope.retries = Some((0, directive.clone())),
                        _ => self.note(directive, format!("`{word}`: answers are never retried")),
                    }
                }
            }
            "proxy_next_upstream_tries" => match first.parse::<u32>() {
                Ok(tries @ 1..=11) => scope.retries = Some((tries - 1, directive.clone())),
                _ => self.note(directive, "there are at most 11 attempts"),
            },
            "proxy_http_version" if first == "1.1" => {}
            "proxy_http_version" => self.note(directive, "HTTP/1.1 is spoken"),
            "proxy_ssl_name" => scope.tls_name = Some(first.to_owned()),
            "proxy_ssl_verify" => scope.tls_verify = first == "on",
            // The name is always sent.
            "proxy_ssl_server_name" => {}
            _ => return false,
        }
        true
    }

    fn time(&mut self, directive: &Directive) -> Option<u64> {
        let time = units::milliseconds(directive.argument(0));
        let time = time.filter(|time| (1..=MS_MAX).contains(time));
        if time.is_none() {
            self.note(directive, "must be a millisecond to a day");
        }
        time
    }

    fn access_log(&mut self, scope: &mut Scope, directive: &Directive) {
        let first = directive.argument(0);
        scope.is_unlogged = first == "off";
        if first == "off" {
            return;
        }
        if first.starts_with("syslog:") || first.contains('$') {
            return self.note(directive, "the access log is one file");
        }
        let path = self.path(first);
        if self.is_first(directive, "access_log", &path) {
            self.raw.gateway.access_log = path;
        }
        self.log_format(directive);
    }

    /// Puts `scope` on a route; `proxy_host` is nginx's name of where it leads, if to a server.
    pub(super) fn apply(&mut self, scope: &Scope, route: &mut Route, proxy_host: Option<&str>) {
        route.access_log = !scope.is_unlogged;
        route.body_bytes_max = scope.body_bytes.unwrap_or(0);
        for header in &scope.response {
            self.add_header(scope, route, header);
        }
        let Some(proxy_host) = proxy_host else { return };
        route.connect_timeout_ms = scope.connect_ms.unwrap_or(CONNECT_MS);
        route.send_timeout_ms = scope.send_ms.unwrap_or(route.send_timeout_ms);
        route.read_timeout_ms = scope.read_ms.unwrap_or(route.read_timeout_ms);
        self.cached(scope, route);
        let hidden = scope.hidden.iter().map(|header| header.argument(0).to_ascii_lowercase());
        route.response_headers.remove.extend(hidden);
        let is_host = |header: &Directive| header.argument(0).eq_ignore_ascii_case("host");
        if !scope.request.iter().any(is_host) {
            route.request_headers.set.insert("host".to_owned(), proxy_host.to_owned());
        }
        for header in &scope.request {
            self.set_header(scope, route, header, proxy_host);
        }
    }

    fn set_header(&mut self, scope: &Scope, route: &mut Route, at: &Directive, proxy_host: &str) {
        let name = at.argument(0).to_ascii_lowercase();
        let value = at.argument(1);
        let is_ours = match name.as_str() {
            // As it came, with its port; `$host` has none.
            "host" => value == "$http_host",
            "x-real-ip" => value == "$remote_addr",
            "x-forwarded-for" => value == "$proxy_add_x_forwarded_for",
            "x-forwarded-proto" => value == "$scheme",
            "x-forwarded-host" => matches!(value, "$host" | "$http_host"),
            // Upgrades are passed on, connections are kept.
            "upgrade" => value == "$http_upgrade",
            "connection" => ["", "upgrade", "keep-alive", "$connection_upgrade"]
                .contains(&value.to_ascii_lowercase().as_str()),
            _ => false,
        };
        if is_ours {
            return;
        }
        if name == "connection" {
            return self.note(at, "connections to servers are kept, and upgrades passed on");
        }
        if value.is_empty() {
            route.request_headers.remove.push(name);
            return;
        }
        match template(&value.replace("$proxy_host", proxy_host), scope) {
            Ok(value) => {
                route.request_headers.set.insert(name, value);
            }
            Err(why) => self.note(at, why),
        }
    }

    fn add_header(&mut self, scope: &Scope, route: &mut Route, at: &Directive) {
        let name = at.argument(0).to_ascii_lowercase();
        if at.argument(1).is_empty() {
            return self.note(at, "a header without a value is not sent");
        }
        match template(at.argument(1), scope) {
            Err(why) => return self.note(at, why),
            Ok(_) if route.response_headers.add.contains_key(&name) => {
                return self.note(at, "a header is added once");
            }
            Ok(value) => {
                route.response_headers.add.insert(name, value);
            }
        }
        if at.argument(2) != "always" {
            self.note(at, "is added to answers of every status, as with `always`");
        }
    }
}

/// `text` with variables that routes know, or why it cannot be had.
pub(super) fn template(text: &str, scope: &Scope) -> Result<String, String> {
    let text = text.replace("${", "$\u{1}").replace("$http_host", "$host");
    let mut filled = String::new();
    let mut pieces = text.split('$');
    filled.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, rest) = match piece.strip_prefix('\u{1}').and_then(|piece| piece.split_once('}'))
        {
            Some((_, rest)) if rest.starts_with(|next: char| next.is_ascii_alphanumeric()) => {
                return Err("a letter follows a variable in braces".to_owned());
            }
            Some(parts) => parts,
            None => {
                let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                piece.split_at(piece.find(|next| !is_word(next)).unwrap_or(piece.len()))
            }
        };
        if name == "server_name" {
            filled.push_str(&scope.server_name);
        } else if VARIABLES.contains(&name) {
            filled.push('$');
            filled.push_str(name);
        } else {
            let known = VARIABLES.join(", $");
            return Err(format!("`${name}` is not a variable here; known: ${known}"));
        }
        filled.push_str(rest);
    }
    if filled.contains(['\r', '\n', '\0', '\u{1}']) {
        return Err("has bytes that no header may have".to_owned());
    }
    Ok(filled)
}
