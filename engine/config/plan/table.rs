//! Owns what of the configuration a reload exchanges, in the gateway's terms: routes, upstream
//! groups, limits, TLS, trusted proxies.
//!
//! Refuses to compile it; the gateway does, and names what is wrong. Bound: one table.

use std::path::PathBuf;
use std::time::Duration;

use truststram_proxy::{
    AccessSpec, ActionSpec, BreakerSpec, COMBINED, CertificateSpec, CheckSpec, CompressionSpec,
    CorsSpec, EditSpec, Encoding, Escape, FormatSpec, GroupSpec, HashKey, HedgeSpec, PathSpec,
    Policy, Protocol, RealIp, RewriteSpec, RouteSpec, Scheme, ServerSpec, TableSpec, Timeouts,
    TlsSpec,
};

use super::zones::uses;
use super::{Check, auth, overload};
use crate::config::raw;

/// Longest time that may be configured, in milliseconds: a day.
const MS_MAX: u64 = 86_400_000;
const RETRIES_MAX: u32 = 10;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl Check<'_> {
    pub(super) fn table(&mut self, raw: &raw::Raw) -> TableSpec {
        let routes = raw.routes.iter().enumerate();
        let routes = routes.map(|(index, route)| self.route(&format!("routes[{index}]"), route));
        let routes = routes.collect();
        let groups = raw.upstreams.iter().enumerate();
        let groups = groups.map(|(index, one)| self.group(&format!("upstreams[{index}]"), one));
        let upstreams = groups.collect();
        self.lifetimes("cache.lifetimes", &raw.cache.lifetimes);
        let gateway = &raw.gateway;
        let table = TableSpec {
            routes,
            upstreams,
            trusted_proxies: gateway.trusted_proxies.clone(),
            real_ip: self.real_ip(&gateway.real_ip_header),
            tls: self.tls(gateway),
            security_headers: gateway.security_headers,
            https_port: self.https_port(gateway),
            compression: self.compression(&raw.compression),
            access: self.access(gateway),
            limits: self.limits(raw),
            hsts_s: gateway.hsts_s,
            auth: self.auth_spec(raw),
            cors: cors(&gateway.cors),
            overload: self.overload(raw),
        };
        for fault in truststram_proxy::check(&table) {
            self.fail(&fault.key, fault.message);
        }
        for fault in truststram_proxy::unhedged(&table, raw.cache.memory_mib > 0) {
            self.warn(&fault.key, fault.message);
        }
        table
    }

    fn real_ip(&mut self, name: &str) -> RealIp {
        match name.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => RealIp::XForwardedFor,
            "x-real-ip" => RealIp::XRealIp,
            "forwarded" => RealIp::Forwarded,
            _ => {
                let known = "must be \"x-forwarded-for\", \"x-real-ip\" or \"forwarded\"";
                self.fail("gateway.real_ip_header", known);
                RealIp::default()
            }
        }
    }

    fn https_port(&mut self, gateway: &raw::Gateway) -> Option<u16> {
        if !gateway.https_redirect {
            return None;
        }
        let address = gateway.tls_listen.parse::<std::net::SocketAddr>().ok();
        let port = address.map(|address| address.port()).filter(|port| *port > 0);
        if port.is_none() {
            self.fail("gateway.https_redirect", "needs `tls_listen` with a port other than 0");
        }
        port
    }

    fn compression(&mut self, section: &raw::Compression) -> CompressionSpec {
        let mut encodings = Vec::new();
        for name in &section.encodings {
            match name.as_str() {
                "gzip" => encodings.push((Encoding::Gzip, section.gzip_level)),
                "br" => encodings.push((Encoding::Brotli, section.brotli_level)),
                "zstd" => encodings.push((Encoding::Zstd, section.zstd_level)),
                _ => {
                    let message = format!("`{name}` is not \"zstd\", \"br\" or \"gzip\"");
                    self.fail("compression.encodings", message);
                }
            }
        }
        let (types, bytes_min) = (section.types.clone(), section.bytes_min);
        CompressionSpec { encodings, types, bytes_min }
    }

    fn access(&mut self, gateway: &raw::Gateway) -> AccessSpec {
        let escape = match gateway.access_log_escape.as_str() {
            "json" => Escape::Json,
            "none" => Escape::Nothing,
            name => {
                if name != "default" {
                    let known = "must be \"default\", \"json\" or \"none\"";
                    self.fail("gateway.access_log_escape", known);
                }
                Escape::Hex
            }
        };
        let template = |text: &str| FormatSpec::Template { text: text.to_owned(), escape };
        let format = match gateway.access_log_format.as_str() {
            "json" => FormatSpec::Json,
            "combined" => template(COMBINED),
            text => template(text),
        };
        AccessSpec { format, skip: gateway.access_log_skip.clone() }
    }

    fn tls(&mut self, gateway: &raw::Gateway) -> Option<TlsSpec> {
        if !["1.2", "1.3"].contains(&gateway.tls_min.as_str()) {
            self.fail("gateway.tls_min", "must be \"1.2\" or \"1.3\"");
        }
        let certificates = gateway.certificates.iter().map(|one| CertificateSpec {
            chain: PathBuf::from(&one.chain),
            key: PathBuf::from(&one.key),
            ocsp: one.ocsp.as_ref().map(PathBuf::from),
        });
        let client_ca = Some(&gateway.tls_client_ca).filter(|file| !file.is_empty());
        (!gateway.tls_listen.is_empty()).then(|| TlsSpec {
            certificates: certificates.collect(),
            only_13: gateway.tls_min == "1.3",
            tickets: gateway.tls_tickets,
            client_ca: client_ca.map(PathBuf::from),
            is_client_optional: gateway.tls_client_auth == raw::ClientAuth::Optional,
        })
    }

    fn time(&mut self, key: &str, value_ms: u64, least: u64) -> Duration {
        if !(least..=MS_MAX).contains(&value_ms) {
            self.fail(key, "is out of bounds: at least a millisecond, at most a day");
        }
        ms(value_ms.min(MS_MAX))
    }

    fn route(&mut self, key: &str, route: &raw::Route) -> RouteSpec {
        let paths = [
            route.path.as_ref().map(|path| PathSpec::Prefix(path.clone())),
            route.path_exact.as_ref().map(|path| PathSpec::Exact(path.clone())),
            route.path_regex.as_ref().map(|path| PathSpec::Regex(path.clone())),
        ];
        let mut paths = paths.into_iter().flatten();
        let path = paths.next().unwrap_or_else(|| PathSpec::Prefix("/".to_owned()));
        if paths.next().is_some() {
            self.fail(key, "must have one of `path`, `path_exact` and `path_regex`");
        }
        let mut time = |part: &str, value, least| self.time(&format!("{key}.{part}"), value, least);
        let timeouts = Timeouts {
            connect: time("connect_timeout_ms", route.connect_timeout_ms, 1),
            send: time("send_timeout_ms", route.send_timeout_ms, 1),
            read: time("read_timeout_ms", route.read_timeout_ms, 1),
            total: Some(time("total_timeout_ms", route.total_timeout_ms, 0))
                .filter(|total| !total.is_zero()),
        };
        RouteSpec {
            name: route.name.clone(),
            hosts: route.hosts.clone(),
            path,
            methods: route.methods.clone(),
            headers: route.headers.clone().into_iter().collect(),
            scheme: route.scheme.map(|scheme| match scheme {
                raw::RouteScheme::Http => Scheme::Http,
                raw::RouteScheme::Https => Scheme::Https,
            }),
            action: self.action(key, route),
            rewrite: self.rewrite(key, route),
            request_edits: edits(&route.request_headers),
            response_edits: edits(&route.response_headers),
            timeouts,
            body_bytes_max: (route.body_bytes_max > 0).then_some(route.body_bytes_max),
            is_logged: route.access_log,
            is_cached: route.cache,
            cache_rules: self.cache_rules(key, route),
            auth: auth::of_route(route),
            priority: overload::priority(route),
            limits: uses(&route.limit_requests, &route.limit_in_flight, &route.limit_days),
        }
    }

    fn action(&mut self, key: &str, route: &raw::Route) -> ActionSpec {
        let redirects = route.redirect.is_some();
        let answers = route.status.is_some() && !redirects;
        let count = [route.local, route.upstream.is_some(), redirects, answers];
        if count.into_iter().filter(|&is_given| is_given).count() != 1 {
            self.fail(key, "must have one of `local`, `upstream`, `redirect` and `status`");
        }
        if route.body.is_some() && !answers {
            self.fail(&format!("{key}.body"), "is for a fixed answer, which has a `status`");
        }
        match (&route.upstream, &route.redirect, route.status) {
            (Some(name), _, _) => ActionSpec::Upstream(name.clone()),
            (_, Some(to), status) => {
                ActionSpec::Redirect { status: status.unwrap_or(301), to: to.clone() }
            }
            (_, _, Some(status)) => {
                ActionSpec::Answer { status, body: route.body.clone().unwrap_or_default() }
            }
            _ => ActionSpec::Local,
        }
    }

    fn rewrite(&mut self, key: &str, route: &raw::Route) -> RewriteSpec {
        if route.rewrite_to.is_some() && route.rewrite_regex.is_none() {
            self.fail(&format!("{key}.rewrite_to"), "needs `rewrite_regex`");
        }
        match (route.strip_prefix, &route.replace_prefix, &route.rewrite_regex) {
            (false, None, None) => RewriteSpec::Keep,
            (true, None, None) => RewriteSpec::ReplacePrefix(String::new()),
            (false, Some(new), None) => RewriteSpec::ReplacePrefix(new.clone()),
            (false, None, Some(pattern)) => RewriteSpec::Regex {
                pattern: pattern.clone(),
                to: route.rewrite_to.clone().unwrap_or_default(),
            },
            _ => {
                let one = "must have one of `strip_prefix`, `replace_prefix` and `rewrite_regex`";
                self.fail(key, one);
                RewriteSpec::Keep
            }
        }
    }

    fn group(&mut self, key: &str, one: &raw::Upstream) -> GroupSpec {
        if one.retries > RETRIES_MAX {
            self.fail(&format!("{key}.retries"), format!("must be at most {RETRIES_MAX}"));
        }
        if one.retry_budget_percent > 100 {
            self.fail(&format!("{key}.retry_budget_percent"), "must be at most 100");
        }
        let mut time = |part: &str, value, least| self.time(&format!("{key}.{part}"), value, least);
        let slow_start = time("slow_start_s", one.slow_start_s.saturating_mul(1_000), 0);
        let keepalive = time("keepalive_s", one.keepalive_s.saturating_mul(1_000), 0);
        let check = one.check.as_ref().map(|check| CheckSpec {
            path: check.path.clone(),
            interval: time("check", check.interval_ms, 1),
            timeout: time("check", check.timeout_ms, 1),
            rise: check.rise,
            fall: check.fall,
        });
        let breaker = one.breaker.as_ref().map(|breaker| BreakerSpec {
            failure_percent: breaker.failure_percent,
            requests_min: breaker.requests_min,
            window: time("breaker", breaker.window_ms, 1),
            open: time("breaker", breaker.open_ms, 1),
            probes: breaker.probes,
        });
        if check.as_ref().is_some_and(|check| check.rise == 0 || check.fall == 0) {
            self.fail(&format!("{key}.check"), "rise and fall must be at least 1");
        }
        if breaker.is_some_and(|breaker| {
            breaker.probes == 0 || !(1..=100).contains(&breaker.failure_percent)
        }) {
            let bounds = "failure_percent must be 1 to 100, probes at least 1";
            self.fail(&format!("{key}.breaker"), bounds);
        }
        let servers = one.servers.iter().map(|server| ServerSpec {
            address: server.address.clone(),
            weight: server.weight,
            backup: server.backup,
            max_fails: server.max_fails,
            fail_timeout: ms(server.fail_timeout_s.saturating_mul(1_000).min(MS_MAX)),
            drain: server.drain,
        });
        GroupSpec {
            name: one.name.clone(),
            servers: servers.collect(),
            policy: self.policy(key, one),
            check,
            breaker,
            slow_start,
            retries: one.retries.min(RETRIES_MAX),
            retry_budget_percent: one.retry_budget_percent.min(100),
            hedge: self.hedge(&format!("{key}.hedge"), one),
            keepalive,
            protocol: self.protocol(key, one),
            host: one.host.clone(),
        }
    }

    fn hedge(&mut self, key: &str, one: &raw::Upstream) -> Option<HedgeSpec> {
        let hedge = one.hedge.as_ref()?;
        if !(1..=100).contains(&hedge.budget_percent) {
            self.fail(key, "budget_percent must be 1 to 100");
        }
        if one.retries == 0 || one.retry_budget_percent == 0 {
            self.fail(key, "needs `retries` and `retry_budget_percent`, of which it is a part");
        }
        if one.protocol != raw::UpstreamProtocol::Http {
            self.fail(key, "needs `protocol = \"http\"`; requests to others are not asked twice");
        }
        if one.servers.len() < 2 {
            self.fail(key, "needs a second server to ask");
        }
        let after = self.time(key, hedge.after_ms, 1);
        Some(HedgeSpec { after, budget_percent: hedge.budget_percent })
    }

    fn policy(&mut self, key: &str, one: &raw::Upstream) -> Policy {
        let hashed = match one.hash_key.as_str() {
            "ip" => Some(HashKey::Ip),
            "path" => Some(HashKey::Path),
            other => {
                let name = other.strip_prefix("header:").and_then(|name| name.parse().ok());
                name.map(HashKey::Header)
            }
        };
        if hashed.is_none() {
            let known = "must be \"ip\", \"path\" or \"header:NAME\"";
            self.fail(&format!("{key}.hash_key"), known);
        }
        match one.policy {
            raw::UpstreamPolicy::RoundRobin => Policy::RoundRobin,
            raw::UpstreamPolicy::LeastConn => Policy::LeastConn,
            raw::UpstreamPolicy::Ewma => Policy::Ewma,
            raw::UpstreamPolicy::Random => Policy::Random,
            raw::UpstreamPolicy::Hash => Policy::Hash(hashed.unwrap_or(HashKey::Ip)),
        }
    }

    fn protocol(&mut self, key: &str, one: &raw::Upstream) -> Protocol {
        match one.protocol {
            raw::UpstreamProtocol::Http => Protocol::Http,
            raw::UpstreamProtocol::H2c => Protocol::H2c,
            raw::UpstreamProtocol::Tls => {
                if one.tls_name.is_none() {
                    self.fail(&format!("{key}.tls_name"), "is needed where `protocol` is \"tls\"");
                }
                let name = one.tls_name.clone().unwrap_or_default();
                Protocol::Tls { name, verify: one.tls_verify }
            }
        }
    }
}

fn cors(cors: &raw::Cors) -> CorsSpec {
    CorsSpec {
        origins: cors.origins.clone(),
        methods: cors.methods.clone(),
        headers: cors.headers.clone(),
        credentials: cors.credentials,
        max_age_s: cors.max_age_s,
    }
}

fn edits(edits: &raw::HeaderEdits) -> EditSpec {
    EditSpec {
        remove: edits.remove.clone(),
        set: edits.set.clone().into_iter().collect(),
        add: edits.add.clone().into_iter().collect(),
    }
}
