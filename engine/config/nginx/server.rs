//! Owns `server` blocks: addresses, names, certificates.
//!
//! Refuses a second address of a kind: we have one without TLS and one with it. Bound: the routes
//! of each server, twice where it is the default one among wildcards.

use super::http::Conversion;
use super::parse::Directive;
use super::protect::Protection;
use super::proxy::Scope;
use crate::config::raw::{Certificate, Route, RouteScheme};

/// How a server is reached.
#[derive(Clone, Debug, Default)]
struct Reach {
    plain: bool,
    tls: bool,
    is_default: bool,
    hosts: Vec<String>,
}

impl Reach {
    fn scheme(&self) -> Option<RouteScheme> {
        match (self.plain, self.tls) {
            (true, false) => Some(RouteScheme::Http),
            (false, true) => Some(RouteScheme::Https),
            _ => None,
        }
    }
}

impl Conversion {
    pub(super) fn servers(&mut self, servers: &[&Directive], outer: &Scope) {
        let mut reaches: Vec<Reach> = servers.iter().map(|server| self.reach(server)).collect();
        for is_tls in [false, true] {
            let here = |reach: &Reach| if is_tls { reach.tls } else { reach.plain };
            if !reaches.iter().any(|reach| here(reach) && reach.is_default)
                && let Some(first) = reaches.iter_mut().find(|reach| here(reach))
            {
                first.is_default = true;
            }
        }
        let mut clients = Vec::new();
        for (index, server) in servers.iter().enumerate() {
            let reach = &reaches[index];
            if !reach.plain && !reach.tls {
                self.note(server, "none of its addresses could be taken over; it is left out");
                continue;
            }
            if !reach.is_default && reach.hosts.is_empty() {
                self.note(server, "has no name by which it could be reached; it is left out");
                continue;
            }
            let is_among_wildcards = reaches.iter().enumerate().any(|(place, other)| {
                let shares = (reach.plain && other.plain) || (reach.tls && other.tls);
                place != index && shares && other.hosts.iter().any(|host| host.starts_with("*."))
            });
            let mut hosts = vec![reach.hosts.clone()];
            if reach.is_default {
                if !is_among_wildcards {
                    hosts.clear();
                }
                hosts.push(Vec::new());
            }
            let routes = self.server(server, reach, outer, &mut clients);
            for hosts in hosts {
                for route in &routes {
                    let name = self.free_name(&route.name);
                    let scheme = reach.scheme();
                    let route = Route { name, hosts: hosts.clone(), scheme, ..route.clone() };
                    self.raw.routes.push(route);
                }
            }
        }
        self.clients(&clients);
    }

    fn free_name(&self, name: &str) -> String {
        let is_free = |name: &String| self.raw.routes.iter().all(|route| route.name != *name);
        let plain: String = name.chars().take(56).collect();
        let numbered = (2..).map(|count| format!("{plain} {count}"));
        std::iter::once(plain.clone()).chain(numbered).find(is_free).unwrap_or(plain)
    }

    fn reach(&mut self, server: &Directive) -> Reach {
        let mut reach = Reach::default();
        let mut has_listen = false;
        for directive in server.inside() {
            match directive.name.as_str() {
                "listen" => {
                    has_listen = true;
                    self.listen(&mut reach, directive);
                }
                "server_name" => {
                    for name in &directive.arguments {
                        self.host(&mut reach, directive, name);
                    }
                }
                _ => {}
            }
        }
        if !has_listen {
            let mut implied = server.clone();
            implied.arguments = vec!["80".to_owned()];
            self.listen(&mut reach, &implied);
        }
        reach
    }

    fn listen(&mut self, reach: &mut Reach, directive: &Directive) {
        let text = directive.argument(0);
        if text.starts_with("unix:") {
            return self.note(directive, "only addresses with ports are listened on");
        }
        let address = if text.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("0.0.0.0:{text}")
        } else {
            super::upstream::with_port(&text.replace("*:", "0.0.0.0:"), 80)
        };
        let Ok(address) = address.replace("localhost", "127.0.0.1").parse::<std::net::SocketAddr>()
        else {
            return self.note(directive, "is not an address with a port");
        };
        let is_tls = directive.arguments.iter().any(|argument| argument == "ssl");
        let key = if is_tls { "gateway.tls_listen" } else { "server.listen" };
        if !self.is_first(directive, key, &address.to_string()) {
            return;
        }
        if is_tls {
            reach.tls = true;
            self.raw.gateway.tls_listen = address.to_string();
        } else {
            reach.plain = true;
            self.raw.server.listen = address.to_string();
            if !address.ip().is_loopback() {
                self.raw.server.listen = format!("127.0.0.1:{}", address.port());
                let why = "nothing protects it: 127.0.0.1 stands in the result; set server.listen \
                           and give --insecure if the network is trusted";
                self.note(directive, why);
            }
        }
        for argument in directive.arguments.iter().skip(1) {
            match argument.as_str() {
                "ssl" => {}
                "default_server" | "default" => reach.is_default = true,
                // By TLS it is always offered.
                "http2" if is_tls => {}
                "http2" => self.raw.gateway.h2c = true,
                _ => self.note(directive, format!("`{argument}` has no counterpart")),
            }
        }
    }

    fn host(&mut self, reach: &mut Reach, directive: &Directive, name: &str) {
        let name = name.to_ascii_lowercase();
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_host = |name: &str| !name.is_empty() && name.bytes().all(is_part);
        if name.is_empty() || name == "_" {
            // By convention the name of no host.
        } else if let Some(bare) = name.strip_prefix('.').filter(|bare| is_host(bare)) {
            reach.hosts.extend([bare.to_owned(), format!("*.{bare}")]);
        } else if is_host(name.strip_prefix("*.").unwrap_or(&name)) {
            reach.hosts.push(name);
        } else {
            self.note(directive, format!("`{name}` is neither a host nor `*.` and a suffix"));
        }
    }

    fn server(
        &mut self,
        server: &Directive,
        reach: &Reach,
        outer: &Scope,
        clients: &mut Vec<Protection>,
    ) -> Vec<Route> {
        let mut scope = outer.child();
        scope.server_name = reach.hosts.first().cloned().unwrap_or_default();
        let (mut certificate, mut key, mut ocsp) = (None, None, None);
        let mut locations = Vec::new();
        let mut answer = None;
        for directive in server.inside() {
            let first = directive.argument(0);
            match directive.name.as_str() {
                "listen" | "server_name" => {}
                "location" => locations.push(directive),
                "return" if answer.is_none() => answer = Some(directive),
                "ssl_certificate" => certificate = Some(self.path(first)),
                "ssl_certificate_key" => key = Some(self.path(first)),
                "ssl_stapling_file" => ocsp = Some(self.path(first)),
                "ssl_protocols" => self.protocols(directive),
                "ssl_session_tickets" => {
                    if self.is_first(directive, "gateway.tls_tickets", first) {
                        self.raw.gateway.tls_tickets = first != "off";
                    }
                }
                "http2" if reach.plain && first == "on" => self.raw.gateway.h2c = true,
                "http2" if first == "on" => {}
                _ if self.setting(&mut scope, directive) => {}
                _ => self.unknown(directive),
            }
        }
        match (certificate, key) {
            (Some(chain), Some(key)) => {
                let one = Certificate { chain, key, ocsp };
                if !self.raw.gateway.certificates.contains(&one) {
                    self.raw.gateway.certificates.push(one);
                }
            }
            (None, None) => {}
            _ => self.note(server, "a certificate and its key come together"),
        }
        if reach.tls {
            clients.push(scope.protection.clone());
        }
        self.locations(server, &scope, &locations, answer)
    }

    fn protocols(&mut self, directive: &Directive) {
        let has = |name: &str| directive.arguments.iter().any(|argument| argument == name);
        let oldest = if has("TLSv1.2") || !has("TLSv1.3") { "1.2" } else { "1.3" };
        if self.is_first(directive, "gateway.tls_min", oldest) {
            oldest.clone_into(&mut self.raw.gateway.tls_min);
        }
        if ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"].into_iter().any(has) {
            self.note(directive, "versions before TLS 1.2 are not spoken");
        }
    }
}
