//! Owns `limit_req`, `limit_conn` and their zones.
//!
//! Refuses a use of a zone that was not converted. Bound: one zone for each.

use truststram_proxy::Rate;

use super::http::Conversion;
use super::parse::Directive;
use super::proxy::Scope;
use super::units;
use super::upstream::header_variable;
use crate::config::raw::{LimitInFlight, LimitRequests, LimitZone, Route};

/// nginx's `limit_req_status` where it is not given.
const LIMIT_STATUS: u16 = 503;

impl Conversion {
    pub(super) fn limit_zone(&mut self, directive: &Directive) {
        let Some(key) = key_of(directive.argument(0)) else {
            return self.note(directive, "requests are not counted by this key");
        };
        let (mut name, mut memory_mib, mut rate) = (String::new(), 10, None);
        for argument in directive.arguments.iter().skip(1) {
            match argument.split_once('=') {
                Some(("zone", value)) => {
                    let (zone, size) = value.split_once(':').unwrap_or((value, "10m"));
                    zone.clone_into(&mut name);
                    match units::mib(size).filter(|mib| *mib <= 4_096) {
                        Some(mib) => memory_mib = mib,
                        None => self.note(directive, format!("`{size}` is not a size: 10 MiB")),
                    }
                }
                Some(("rate", value)) if value.parse::<Rate>().is_ok() => {
                    rate = Some(value.to_owned());
                }
                _ => self.note(directive, format!("`{argument}` has no counterpart")),
            }
        }
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(is_word);
        if !is_name || (directive.name == "limit_req_zone") != rate.is_some() {
            return self.note(directive, "needs a name and, for `limit_req_zone`, a rate");
        }
        if self.raw.limits.iter().any(|zone| zone.name == name) {
            return self.note(directive, "its name is taken already");
        }
        self.raw.limits.push(LimitZone { name, key, rate, window: None, memory_mib });
    }

    /// A limit of a level; one with limits of its own inherits none of that kind.
    pub(super) fn limit(&mut self, scope: &mut Scope, directive: &Directive) {
        let is_rate = directive.name == "limit_req";
        let mut name = directive.argument(0);
        let mut one = LimitRequests { zone: String::new(), burst: 0, nodelay: false, delay: 0 };
        for argument in directive.arguments.iter().filter(|_| is_rate) {
            let number = |text: &str| text.parse::<u32>().ok();
            let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
            let is_taken = match key {
                "zone" => {
                    name = value;
                    true
                }
                "burst" => number(value).map(|count| one.burst = count).is_some(),
                "delay" => number(value).map(|count| one.delay = count).is_some(),
                "nodelay" => {
                    one.nodelay = true;
                    true
                }
                _ => false,
            };
            if !is_taken {
                self.note(directive, format!("`{argument}` has no counterpart"));
            }
        }
        let zones = &self.raw.limits;
        if !zones.iter().any(|zone| zone.name == name && zone.rate.is_some() == is_rate) {
            return self.note(directive, "its zone was not converted");
        }
        name.clone_into(&mut one.zone);
        if is_rate {
            if !std::mem::replace(&mut scope.has_own_rates, true) {
                scope.rates.clear();
            }
            if scope.rates.iter().any(|other| other.zone == one.zone) {
                return self.note(directive, "the zone is in use already");
            }
            scope.rates.push(one);
        } else {
            if !std::mem::replace(&mut scope.has_own_places, true) {
                scope.places.clear();
            }
            let at_most = directive.argument(1).parse::<u32>().unwrap_or(0);
            if at_most == 0 || scope.places.iter().any(|other| other.zone == one.zone) {
                return self.note(directive, "is no number, or the zone is in use already");
            }
            scope.places.push(LimitInFlight { zone: one.zone, at_most });
        }
    }

    /// Limits that are those of all routes stand once, before them.
    pub(super) fn gather_limits(&mut self) {
        let (gateway, routes) = (&mut self.raw.gateway, &mut self.raw.routes);
        if let Some(first) = routes.first().map(|route| route.limit_requests.clone())
            && routes.iter().all(|route| route.limit_requests == first)
        {
            routes.iter_mut().for_each(|route| route.limit_requests.clear());
            gateway.limit_requests = first;
        }
        if let Some(first) = routes.first().map(|route| route.limit_in_flight.clone())
            && routes.iter().all(|route| route.limit_in_flight == first)
        {
            routes.iter_mut().for_each(|route| route.limit_in_flight.clear());
            gateway.limit_in_flight = first;
        }
        let is_limited =
            |route: &Route| !route.limit_requests.is_empty() || !route.limit_in_flight.is_empty();
        let every = !gateway.limit_requests.is_empty() || !gateway.limit_in_flight.is_empty();
        if every || routes.iter().any(is_limited) {
            gateway.limit_status = self.limit_status.unwrap_or(LIMIT_STATUS);
        }
    }

    pub(super) fn limit_status(&mut self, directive: &Directive) {
        match directive.argument(0).parse::<u16>() {
            Ok(status @ (429 | 503)) => {
                if self.is_first(directive, "limit_status", directive.argument(0)) {
                    self.limit_status = Some(status);
                }
            }
            _ => self.note(directive, "limits answer 429 or 503"),
        }
    }
}

fn key_of(text: &str) -> Option<String> {
    let mut parts = Vec::new();
    for name in text.split('$').skip(1) {
        parts.push(match name {
            "binary_remote_addr" | "remote_addr" => "ip".to_owned(),
            "host" | "http_host" => "host".to_owned(),
            "uri" => "path".to_owned(),
            _ => format!("header:{}", header_variable(&format!("${name}"))?),
        });
    }
    (text.starts_with('$') && (1..=4).contains(&parts.len())).then(|| parts.join(" "))
}
