//! Owns `upstream` blocks, and groups that stand for one address of `proxy_pass`.
//!
//! Refuses servers that are not reached by host and port. Bound: one group for each block.

use super::http::Conversion;
use super::parse::Directive;
use super::units;
use crate::config::raw::{Upstream, UpstreamPolicy, UpstreamServer};

/// Most further attempts that a group may have.
const RETRIES_MAX: usize = 10;

impl Conversion {
    pub(super) fn upstream(&mut self, block: &Directive) {
        // nginx tries every server once, and knows no budget.
        let mut group = Upstream {
            name: block.argument(0).to_owned(),
            retry_budget_percent: 100,
            ..Upstream::default()
        };
        for directive in block.inside() {
            let first = directive.argument(0);
            match directive.name.as_str() {
                "server" => group.servers.extend(self.upstream_server(directive)),
                "least_conn" => group.policy = UpstreamPolicy::LeastConn,
                "random" => {
                    group.policy = UpstreamPolicy::Random;
                    if !first.is_empty() {
                        self.note(directive, "the choice between two is left out: by chance");
                    }
                }
                "ip_hash" => {
                    group.policy = UpstreamPolicy::Hash;
                    self.note(directive, "hashes whole addresses by another function");
                }
                "hash" => self.upstream_hash(&mut group, directive),
                "keepalive" => match first.parse::<usize>() {
                    Ok(count) if count > 0 => {
                        let most = self.idle_max.map_or(count, |other| other.max(count));
                        self.idle_max = Some(most);
                    }
                    _ => self.note(directive, "is not a number of connections"),
                },
                "keepalive_timeout" => match units::seconds(first) {
                    Some(seconds) => group.keepalive_s = seconds,
                    None => self.note(directive, "is not a time"),
                },
                "keepalive_requests" | "keepalive_time" => {
                    self.note(directive, "upstream connections are kept until they are idle");
                }
                "zone" => self.note(directive, "is not needed: threads share what they know"),
                _ => self.unknown(directive),
            }
        }
        group.retries = retries(group.servers.len());
        if group.servers.is_empty() {
            self.note(block, "has no server that could be converted");
        }
        self.raw.upstreams.push(group);
    }

    fn upstream_hash(&mut self, group: &mut Upstream, directive: &Directive) {
        let key = match directive.argument(0) {
            "$remote_addr" | "$binary_remote_addr" => "ip".to_owned(),
            "$uri" => "path".to_owned(),
            other => match header_variable(other) {
                Some(name) => format!("header:{name}"),
                None => return self.note(directive, "only $remote_addr, $uri and $http_NAME hash"),
            },
        };
        group.policy = UpstreamPolicy::Hash;
        group.hash_key = key;
        if directive.argument(1) != "consistent" {
            self.note(directive, "the hash is consistent: other keys may meet other servers");
        }
    }

    fn upstream_server(&mut self, directive: &Directive) -> Option<UpstreamServer> {
        let address = directive.argument(0);
        if address.starts_with("unix:") {
            self.note(directive, "servers are reached by host and port only");
            return None;
        }
        let address = with_port(address, 80);
        let mut server = UpstreamServer { address, ..UpstreamServer::default() };
        for argument in directive.arguments.iter().skip(1) {
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            let is_taken = match name {
                "weight" => value.parse().map(|weight| server.weight = weight).is_ok(),
                "max_fails" => value.parse().map(|count| server.max_fails = count).is_ok(),
                "fail_timeout" => {
                    units::seconds(value).map(|time| server.fail_timeout_s = time).is_some()
                }
                "backup" => {
                    server.backup = true;
                    true
                }
                "down" => {
                    server.drain = true;
                    true
                }
                // Names are always looked up again.
                "resolve" => true,
                _ => false,
            };
            if !is_taken {
                self.note(directive, format!("`{argument}` has no counterpart"));
            }
        }
        Some(server)
    }

    /// The name of the group that `authority` of a `proxy_pass` stands for, by TLS or not.
    pub(super) fn group_for(&mut self, authority: &str, tls: Option<(String, bool)>) -> String {
        let known = self.raw.upstreams.iter().find(|group| group.name == authority).cloned();
        let is_block = known.is_some();
        if is_block && tls.is_none() {
            return authority.to_owned();
        }
        let plain: String = authority
            .trim_matches(['[', ']'])
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
            .take(56)
            .collect();
        let name = if tls.is_some() { format!("{plain}-tls") } else { plain };
        if self.raw.upstreams.iter().any(|group| group.name == name) {
            return name;
        }
        let mut group = known.unwrap_or_else(|| Upstream {
            servers: vec![UpstreamServer {
                address: with_port(authority, if tls.is_some() { 443 } else { 80 }),
                ..UpstreamServer::default()
            }],
            retries: 0,
            retry_budget_percent: 100,
            ..Upstream::default()
        });
        group.name.clone_from(&name);
        if let Some((server_name, verify)) = tls {
            group.protocol = crate::config::raw::UpstreamProtocol::Tls;
            group.tls_name = Some(server_name);
            group.tls_verify = verify;
        }
        self.raw.upstreams.push(group);
        name
    }
}

fn retries(servers: usize) -> u32 {
    u32::try_from(servers.saturating_sub(1).min(RETRIES_MAX)).unwrap_or(0)
}

/// `header` of `$http_header`, with hyphens.
pub(super) fn header_variable(text: &str) -> Option<String> {
    let name = text.strip_prefix("$http_")?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (!name.is_empty() && name.bytes().all(is_word)).then(|| name.replace('_', "-"))
}

/// `address` with `port` where it has none.
pub(super) fn with_port(address: &str, port: u16) -> String {
    let after = address.rfind(']').map_or(0, |bracket| bracket + 1);
    if address[after..].contains(':') { address.to_owned() } else { format!("{address}:{port}") }
}
